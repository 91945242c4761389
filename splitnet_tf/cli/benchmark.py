"""Benchmark: several devices (the paper's Table 5), or parts of the work on one."""

from __future__ import annotations

import contextlib
import os
import platform
from collections.abc import Iterable
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf
from absl import flags

from splitnet_tf.analysis import cost, text_table
from splitnet_tf.analysis.processor import processor_name
from splitnet_tf.analysis.speed_ups import draw_speed_ups
from splitnet_tf.benchmarks.peak_memory import peak_bytes
from splitnet_tf.benchmarks.table5 import ROWS, measure
from splitnet_tf.benchmarks.table5 import as_text as devices_as_text
from splitnet_tf.cli.define import (
    MODEL_HELP,
    PICTURES,
    define_integer,
    define_list,
    define_new_file,
    define_text,
)
from splitnet_tf.cli.output import define_output_flags, show
from splitnet_tf.cli.program import run_program
from splitnet_tf.data import Split, training_batches
from splitnet_tf.graph import plain_copy
from splitnet_tf.grouping import Grouping, SplitPlan, group_model
from splitnet_tf.models.short_forms import parse_splits
from splitnet_tf.parallel import Cluster, Timing, interleave, prepare_devices, ratio
from splitnet_tf.parallel.local_workers import LocalWorkers
from splitnet_tf.recipe import CrossEntropy, Phase, optimizer_for
from splitnet_tf.splitting import split_model
from splitnet_tf.stages.networks import choose_model
from splitnet_tf.training import TrainStep

FLAGS = flags.FLAGS
# What can be timed, and the flags that some cases read and others do not.
READS = {
    "devices": ("devices", "workers", "batches", "rows", "figure", "batch_size"),
    "grouping_step": ("splits", "batch_size"),
    "bfloat16_step": ("batch_size",),
    "split_forward": ("splits", "batch_size"),
    "input_pipeline": ("batch_size",),
    "conversion": ("splits",),
}
DEVICES, *CASES = READS
PIPELINE_BATCHES = 40  # timed at once, or prefetching would hide their cost


def define_flags() -> None:
    define_text("model", "wrn-16-8", MODEL_HELP)
    define_text("splits", "2-2-2", "Groups: 2-2-2, or <layer>:<groups>,...; not of Table 5.")
    define_list(
        "cases",
        [DEVICES],
        f"What to time: {DEVICES}, the paper's Table 5 for this machine; or of {', '.join(CASES)}.",
    )
    define_list("devices", [], "Devices of Table 5; default: the GPUs, or --workers.")
    define_integer("workers", 2, "Workers without --devices, one to a core.", 2, 65_536)
    define_integer("batches", 4, "Batches of Table 5 timed at once.", 1, 100_000)
    define_list("rows", [], "Only rows of Table 5 whose names begin so; default: all.")
    define_new_file("figure", "Draw Table 5 here.", *PICTURES)
    define_integer("batch_size", 100, "Images in a batch.", 1, 1_000_000)
    define_integer("repeats", 3, "Timed rounds, interleaved.", 3, 100_000)
    define_integer("image_size", 32, "Height and width.", 8, 1024)
    define_integer("num_classes", 100, "Classes.", 2, 100_000)
    define_output_flags()


def main() -> None:
    if not FLAGS.cases:
        raise flags.Error(f"--cases must name one of {DEVICES}, {', '.join(CASES)}, or more.")
    for case in FLAGS.cases:
        if case not in (DEVICES, *CASES):
            raise flags.Error(f"--cases must be of {DEVICES}, {', '.join(CASES)}; got '{case}'.")
    if DEVICES in FLAGS.cases and len(FLAGS.cases) > 1:
        raise flags.Error(f"--cases={DEVICES} is measured by itself; name the others apart.")
    refuse_ignored(FLAGS.cases, [name for name in FLAGS if FLAGS[name].present])
    if DEVICES in FLAGS.cases:
        on_devices()
    else:
        on_one()


def refuse_ignored(cases: Iterable[str], given: Iterable[str]) -> None:
    """Raises when a flag that was given has no effect in any of the cases."""
    for name in given:
        readers = [case for case, read in READS.items() if name in read]
        if readers and not set(readers) & set(cases):
            raise flags.Error(
                f"--{name} has no effect with --cases={','.join(cases)}; it is for "
                f"--cases={','.join(readers)}."
            )


def chosen_model() -> keras.Model:
    keras.utils.set_random_seed(0)
    shape = (FLAGS.image_size, FLAGS.image_size, 3)
    return choose_model(FLAGS.model, FLAGS.num_classes, shape)


def on_devices() -> None:
    """The paper's Table 5."""
    if not FLAGS.model.startswith("wrn-"):
        raise flags.Error(f"--model={FLAGS.model}: Table 5 is of wide residual networks (wrn-...).")
    if len(FLAGS.devices) == 1:
        raise flags.Error(f"--devices={FLAGS.devices[0]}: Table 5 needs two devices or more.")
    for row in FLAGS.rows:
        if not any(name.startswith(row) for name in ROWS):
            raise flags.Error(
                f"--rows: '{row}' begins no row of Table 5; there are {', '.join(ROWS)}."
            )
    prepare_devices(FLAGS.devices)
    devices = FLAGS.devices or [
        d.name.removeprefix("/device:") for d in tf.config.list_logical_devices("GPU")
    ]
    if len(devices) > 1 and FLAGS["workers"].present:
        raise flags.Error(
            f"--workers has no effect with the devices {', '.join(devices)}; leave it out."
        )
    with contextlib.ExitStack() as stack:
        on_workers = len(devices) < 2
        if on_workers:
            workers = stack.enter_context(LocalWorkers(FLAGS.workers))
            cluster = stack.enter_context(contextlib.closing(Cluster(workers.addresses)))
            devices = cluster.devices
        document = measure(
            chosen_model(),
            devices,
            FLAGS.batch_size,
            FLAGS.batches,
            FLAGS.repeats,
            FLAGS.rows,
        )
    batch = (FLAGS.batch_size, FLAGS.image_size, FLAGS.image_size, 3)
    work = (FLAGS.model, FLAGS.num_classes, batch, FLAGS.workers)
    for row in document["rows"]:
        row["peak_bytes"] = peak_bytes(row["name"], *work) if on_workers else None
    document = {"model": FLAGS.model, "machine": machine(), **document}
    show(devices_as_text(document), document)
    if FLAGS.figure:
        draw_speed_ups(document, FLAGS.figure)


def on_one() -> None:
    """The parts of the work, on one device."""
    model, shape = chosen_model(), (FLAGS.image_size, FLAGS.image_size, 3)
    read = {name for case in FLAGS.cases for name in READS[case]}
    plan = None
    if "splits" in read:
        plan = SplitPlan.from_sections(model, parse_splits(FLAGS.splits, FLAGS.model))
    rows = []
    if "conversion" in FLAGS.cases:  # first, while memory holds nothing but the model
        rows.append(conversion(model))
    rng = np.random.default_rng(0)
    images = tf.constant(rng.normal(size=(FLAGS.batch_size, *shape)), tf.float32)
    labels = tf.constant(rng.integers(0, FLAGS.num_classes, FLAGS.batch_size), tf.int32)
    if "grouping_step" in FLAGS.cases:
        rows.append(grouping_step(model, plan, images, labels))
    if "bfloat16_step" in FLAGS.cases:
        rows.append(bfloat16_step(model, images, labels))
    if "split_forward" in FLAGS.cases:
        rows.append(split_forward(model, plan, images))
    if "input_pipeline" in FLAGS.cases:
        rows.append(input_pipeline(model, images, labels, rng))
    document = {
        "model": FLAGS.model,
        "splits": FLAGS.splits if "splits" in read else None,
        "batch_size": FLAGS.batch_size if "batch_size" in read else None,
        "repeats": FLAGS.repeats,
        "machine": machine(),
        "cases": rows,
    }
    show(as_text(document), document)


def machine() -> dict:
    """Where the times were taken."""
    return {
        "processor": processor_name(),
        "threads": tf.config.threading.get_intra_op_parallelism_threads()
        or len(os.sched_getaffinity(0)),
        "gpus": [d.name for d in tf.config.list_physical_devices("GPU")],
        "python": platform.python_version(),
        "tensorflow": tf.__version__,
        "keras": keras.__version__,
    }


def grouping_step(model, plan, images, labels) -> dict:
    """A training step of the grouped model against one of the plain model."""
    steps = {"plain": training_step(model), "grouped": training_step(group_model(model, plan))}
    return compare("grouping_step", runs_of(steps, images, labels), None)


def bfloat16_step(model, images, labels) -> dict:
    """A training step whose layers compute in bfloat16 against one in float32."""
    steps = {
        name: training_step(plain_copy(model), bfloat16=name == "bfloat16")
        for name in ("float32", "bfloat16")
    }
    return compare("bfloat16_step", runs_of(steps, images, labels), None)


def training_step(model, **more) -> TrainStep:
    """A training step as the programs take it by default."""
    return TrainStep(model, CrossEntropy(), optimizer_for(Phase()), l2=Phase.l2, **more)


def runs_of(steps, images, labels) -> dict:
    """What runs each of the training steps once."""
    return {
        name: lambda step=step: float(step(images, labels, 1e-3)["cross_entropy"])
        for name, step in steps.items()
    }


def split_forward(model, plan, images) -> dict:
    """A forward pass of the tree against one of the whole, in one process."""
    tree = split_model(model, Grouping.even(plan))
    cases = {}
    for name, net in (("plain", model), ("split", tree.model)):
        forward = tf.function(lambda x, net=net: net(x, training=False))
        cases[name] = lambda forward=forward: forward(images).numpy()
    bound = cost(tree.model).flops / cost(model).flops
    return compare("split_forward", cases, bound)


def input_pipeline(model, images, labels, rng) -> dict:
    """Making a batch (crop, flip, whitening) against a training step on one."""
    count = 20 * FLAGS.batch_size
    pictures = rng.integers(0, 256, (count, *images.shape[1:]), np.uint8)
    split = Split(pictures, rng.integers(0, FLAGS.num_classes, count).astype(np.int32))
    batches = iter(training_batches(split, FLAGS.batch_size, seed=0))
    step = training_step(model)
    cases = {
        "step": lambda: float(step(images, labels, 1e-3)["cross_entropy"]),
        "batch": lambda: [next(batches) for _ in range(PIPELINE_BATCHES)],
    }
    return compare("input_pipeline", cases, None, {"batch": PIPELINE_BATCHES})


def conversion(model) -> dict:
    """Tracing, planning and cutting a model, against Keras' making an equal one."""
    sections = parse_splits(FLAGS.splits, FLAGS.model)

    def convert():
        plan = SplitPlan.from_sections(model, sections)
        return split_model(model, Grouping.even(plan))

    more = memory_growth(convert)
    row = compare("conversion", {"clone": lambda: plain_copy(model), "convert": convert}, None)
    return {**row, "peak_bytes_more": more, "model_bytes": 4 * model.count_params()}


def memory_growth(work) -> int | None:
    """The most bytes that the process held beyond what it held before, on Linux."""

    def held(field):
        with open("/proc/self/status", encoding="utf-8") as file:
            return next(1024 * int(line.split()[1]) for line in file if line.startswith(field))

    try:
        Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
        before = held("VmRSS")
    except OSError:
        return None
    work()
    return held("VmHWM") - before


def compare(name, cases, bound, times=None) -> dict:
    """Times two cases; ``ratio`` is the second's time over the first's.

    ``times``: how often a case does its work in one go.
    """
    found = interleave(cases, FLAGS.repeats)
    for case, count in (times or {}).items():
        found[case] = Timing(tuple(s / count for s in found[case].seconds))
    first, second = found
    return {
        "case": name,
        "ratio": ratio(found[second], found[first]),
        "flops_ratio": bound,
        **{
            k: {
                "median_seconds": t.median,
                "spread": t.quartile_deviation,
                "seconds": list(t.seconds),
            }
            for k, t in found.items()
        },
    }


def as_text(document) -> str:
    """The cases as a table."""
    rows = []
    for row in document["cases"]:
        names = [k for k in row if isinstance(row[k], dict)]
        base, other = (row[n] for n in names)
        rows.append(
            (
                f"{row['case']}: {names[1]} against {names[0]}",
                f"{1000 * base['median_seconds']:.1f} ms",
                f"{1000 * other['median_seconds']:.1f} ms",
                f"{100 * max(base['spread'], other['spread']):.1f}%",
                f"{row['ratio']:.3f}",
                f"{1 / row['ratio']:.2f}x",
                "-" if row["flops_ratio"] is None else f"{1 / row['flops_ratio']:.2f}x",
            )
        )
    header = ("case", "first", "other", "spread", "time ratio", "speed", "by FLOPs")
    about, batch_size = document["machine"], document["batch_size"]
    measured = (
        document["model"],
        document["splits"],
        batch_size and f"batch {batch_size}",
        f"{document['repeats']} interleaved rounds on {about['processor']}",
        f"TensorFlow {about['tensorflow']}",
        f"Keras {about['keras']}",
    )
    return f"{', '.join(filter(None, measured))}\n\n{text_table(header, rows)}"


def cli() -> None:
    """Entry point of ``splitnet-benchmark``."""
    define_flags()
    run_program(main)


if __name__ == "__main__":
    cli()
