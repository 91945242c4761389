"""Tries to split every model of keras.applications, and writes what came out as a table.

    python -m tests.applications docs/applications.md [Name ...]

Each model is built with random weights and non-trivial batch-norm statistics, then cut low in 2
groups, in the middle in 3, and as a tree of 2, 3 and 4, all uneven; the tree is compared with the
plain model whose off-block weights are zero. Exits with 1 if one differs or fails otherwise than by
a refusal.
"""

from __future__ import annotations

import sys
import time
import traceback
from pathlib import Path

import keras
import numpy as np

import splitnet_tf as sn
from splitnet_tf.analysis import suggest_cuts
from splitnet_tf.graph.keras_reader import all_layers
from splitnet_tf.models.registry import applications
from tests.conftest import random_grouping
from tests.masked import masked_outputs

CLASSES = 20
HEAD = """# Models of keras.applications

Written by `make applications`: every model with random weights, non-trivial batch-norm statistics,
{classes} classes and small images, cut in uneven random groups: low in 2, in the middle in 3, and
as a tree of 2, 3 and 4. "Apart" is the largest difference between the tree's logits and those of
the plain model with its off-block weights set to zero, relative to the largest logit; "lowest cut"
is the lowest place to cut, and the share of the model's parameters at and above it. Below the
table: why not lower.

"""


def make_nontrivial(model: keras.Model, rng: np.random.Generator) -> None:
    """Values that matter in batch norm, biases and layer scales; kernels stay as initialized.

    Batch-norm statistics are then those of random images: with others a deep network of random
    weights is chaotic, and no two orders of summation agree on its outputs.
    """
    for layer in all_layers(model):
        if isinstance(layer, keras.layers.Normalization):
            continue
        for weight in layer.weights:
            if len(weight.shape) != 1:
                continue
            noise = rng.normal(0, 0.2, weight.shape)
            positive = weight.name in ("gamma", "moving_variance", "scale", "variance")
            weight.assign(np.exp(noise) if positive else noise)
    images = rng.normal(size=(8, *model.input_shape[1:])).astype("float32")
    sn.recalibrate_batch_norm(model, [images])


def apart(model, sections, rng) -> float:
    """Largest relative difference between the tree and the masked model."""
    plan = sn.SplitPlan.from_sections(model, sections)
    grouping = random_grouping(plan, rng)
    tree = sn.split_model(model, grouping, plan)
    x = rng.normal(size=(2, *model.input_shape[1:])).astype("float32")
    expected = masked_outputs(model, plan, grouping, x)
    found = keras.ops.convert_to_numpy(tree.model(x, training=False))
    return float(np.abs(found - expected).max() / np.abs(expected).max())


def cut_sections(cuts) -> list[list[tuple[str, int]]]:
    """One low cut, one high, and a tree."""
    low, middle, high = cuts[0], cuts[len(cuts) // 2], cuts[-1]
    tree = {low.start: 2, middle.start: 3, high.start: 4}
    return [[(low.start, 2)], [(middle.start, 3)], list(tree.items())]


def smallest_size(name: str) -> int:
    """Height and width of the images tried."""
    return 96 if "mobile" in name.lower() else 80


def try_model(name: str) -> tuple[list[str], list[str], bool]:
    """A row of the table, the refusals, and whether all is well."""
    keras.backend.clear_session()
    rng = np.random.default_rng(0)
    size = smallest_size(name)
    start = time.perf_counter()
    model = sn.models.build(name, CLASSES, (size, size, 3))
    make_nontrivial(model, rng)
    built = time.perf_counter() - start
    cuts, refused = suggest_cuts(model)
    worst, start = 0.0, time.perf_counter()
    for sections in cut_sections(cuts) if cuts else ():
        worst = max(worst, apart(model, sections, rng))
    seconds = time.perf_counter() - start
    print(f"{name}: {worst:.1e} apart, {built:.1f} s to build, {seconds:.1f} s", flush=True)
    row = [
        name,
        f"{worst:.0e}" if cuts else "refused",
        str(len(cuts)),
        f"`{cuts[0].start}` ({100 * cuts[0].params_above:.0f}%)" if cuts else "",
    ]
    return row, sorted({r.reason for r in refused}, key=len)[:1], worst <= 1e-5


def main(path: str, *names: str) -> int:
    known = {f.__name__: f for f in applications().values()}
    rows, reasons, well = [], {}, True
    for name in names or sorted(known):
        try:
            row, refused, good = try_model(name)
        except Exception:
            traceback.print_exc()
            row, refused, good = [name, "FAILED", "", ""], [], False
        rows.append(row)
        well = well and good
        for reason in refused:
            reasons.setdefault(reason, []).append(name)
    lines = ["| model | apart | places to cut | lowest cut |", "|---|---|---|---|"]
    lines += ["| " + " | ".join(row) + " |" for row in rows]
    lines += [f"\n{', '.join(names)}: not lower, because: {r}" for r, names in reasons.items()]
    Path(path).write_text(HEAD.format(classes=CLASSES) + "\n".join(lines) + "\n", encoding="utf-8")
    return 0 if well else 1


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
