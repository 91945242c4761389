"""The paper's Table 5 on this machine: one device against several, in every known way."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence

import keras
import numpy as np
import tensorflow as tf

from splitnet_tf.analysis import TRUNK_MODES, cost, text_table
from splitnet_tf.benchmarks.baselines import (
    OnDevices,
    blocks_in_sequence,
    data_parallel,
    layers_side_by_side,
)
from splitnet_tf.benchmarks.speed_ups import SPEED_UP_HEADER, speed_up_cells
from splitnet_tf.grouping import Grouping, SplitPlan
from splitnet_tf.models.short_forms import parse_splits
from splitnet_tf.parallel import Timing, interleave, place, ratio, stream
from splitnet_tf.splitting import SplitTree, split_model

# The paper's splits of WRN-16-8, and what it printed for 2 (3-way: 3) GPUs.
PAPER_SPLITS = {
    "shallow": ("1-2-2", 1.37),
    "deep": ("2-2-2", 1.73),
    "hierarchical": ("2-4-4", 1.71),
    "deep 3-way": ("3-3-3", 2.22),
}
PAPER_BASELINES = {"layers side by side": 0.52, "blocks in sequence": 1.20}
ONE = "unsplit on one device"
ROWS = (
    *(ONE, *PAPER_BASELINES, "unsplit data parallel"),
    *(f"{name} {trunk}" for name in PAPER_SPLITS for trunk in TRUNK_MODES),
    "deep data parallel",
)


def placed(
    tree: SplitTree, devices: Sequence[str], trunk: str, *, bfloat16: bool = False
) -> OnDevices:
    """Places a tree, with the numbers that the table tells of it."""
    found = place(tree, devices, trunk, bfloat16=bfloat16)
    placement = found.placement
    all_devices = range(len(placement.devices))
    return OnDevices(
        found,
        tuple(placement.flops_on(d) for d in all_devices),
        tuple(placement.params_on(d) for d in all_devices),
        placement.bytes_crossing,
    )


def make_cases(
    model: keras.Model, devices: Sequence[str], *, bfloat16: bool = False
) -> dict[str, Callable[[], OnDevices]]:
    """Returns a function for each row of the table, by name, that makes the model."""
    how = {"bfloat16": bfloat16}
    cases = {
        ONE: lambda: data_parallel(model, devices[:1], **how),
        "layers side by side": lambda: layers_side_by_side(model, devices, **how),
        "blocks in sequence": lambda: blocks_in_sequence(model, devices, **how),
        "unsplit data parallel": lambda: data_parallel(model, devices, **how),
    }

    @functools.cache
    def tree(kind):
        plan = SplitPlan.from_sections(model, parse_splits(PAPER_SPLITS[kind][0], "wrn-"))
        return split_model(model, Grouping.even(plan))

    for kind in PAPER_SPLITS:
        for trunk in TRUNK_MODES:
            cases[f"{kind} {trunk}"] = lambda k=kind, t=trunk: placed(tree(k), devices, t, **how)
    cases["deep data parallel"] = lambda: data_parallel(tree("deep").model, devices, **how)
    return cases


def measure(
    model: keras.Model,
    devices: Sequence[str],
    batch_size: int,
    batches: int,
    repeats: int,
    chosen: Sequence[str] = (),
    *,
    bfloat16: bool = False,
) -> dict:
    """Times every way to run a model on devices.

    Args:
      model: a wide residual network.
      devices: names; the first is the single device to compare with.
      batch_size: int, images in a batch.
      batches: int, batches that are timed at once; two are under way at any time.
      repeats: int, timed rounds, interleaved.
      chosen: beginnings of the names of rows; the first row is always there. Defaults to all.
      bfloat16: bool, whether layers compute in bfloat16 in every row. Defaults to False.

    Returns:
      The document that ``as_text`` prints, without each row's ``peak_bytes``.
    """
    rng = np.random.default_rng(0)
    images = tf.constant(rng.normal(size=(batch_size, *model.input_shape[1:])), tf.float32)
    cases = {
        name: make
        for name, make in make_cases(model, devices, bfloat16=bfloat16).items()
        if not chosen or name == ONE or name.startswith(tuple(chosen))
    }

    def run(way):
        for logits in stream(way, [images] * batches):
            logits.numpy()

    # Every row is a function of its own, which TensorFlow takes for one that is traced again.
    tf.get_logger().setLevel("ERROR")
    expected = model(images, training=False).numpy()
    ways = {}
    for name, make in cases.items():
        ways[name] = make()
        logits = ways[name](images).numpy()  # and all is traced
        if name in (*PAPER_BASELINES, "unsplit data parallel"):
            check(name, logits, expected, 3e-2 if bfloat16 else 1e-4)
    found = interleave({n: lambda w=w: run(w) for n, w in ways.items()}, repeats, warmup=0)
    whole = cost(model)
    rows = [
        row(name, way, found[name], found[ONE], whole, batches * batch_size)
        for name, way in ways.items()
    ]
    return {
        "devices": list(devices),
        "batch_size": batch_size,
        "batches_in_a_stream": batches,
        "repeats": repeats,
        "bfloat16": bfloat16,
        "rows": rows,
    }


def check(name: str, found: np.ndarray, expected: np.ndarray, tolerance: float) -> None:
    """Raises AssertionError when a way computes anything else than the model."""
    apart = np.abs(found - expected).max() / np.abs(expected).max()
    if not apart < tolerance:
        raise AssertionError(f"'{name}' computes something else: {apart:.1e} apart.")


def row(name, way, timing: Timing, one: Timing, whole, images) -> dict:
    """Gathers the numbers of one row."""
    printed = {**PAPER_BASELINES, **{kind: speed for kind, (_, speed) in PAPER_SPLITS.items()}}
    paper = printed.get(name) or printed.get(name.rpartition(" ")[0])
    return {
        "name": name,
        "ms_per_image": 1000 * timing.median / images,
        "spread": timing.quartile_deviation,
        "speed_up": 1 / ratio(timing, one),
        "bound": whole.flops / max(way.flops),
        "paper": paper,
        "bytes_crossing_per_image": way.bytes_crossing,
        "params_share": max(way.params) / whole.params,
        "seconds": list(timing.seconds),
    }


def as_text(document: dict) -> str:
    """Tabulates the document."""
    return (
        f"{document['model']}, {'bfloat16, ' if document['bfloat16'] else ''}"
        f"batch {document['batch_size']}, "
        f"{document['repeats']} interleaved rounds of {document['batches_in_a_stream']} batches\n"
        f"on {', '.join(document['devices'])}\n\n"
        f"{text_table(SPEED_UP_HEADER, speed_up_cells(document))}"
    )
