"""Flags that the programs of all tables share, and their loop over rows."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from importlib.util import find_spec
from pathlib import Path

import keras
from absl import flags

from experiments.recipe import Recipe
from experiments.row import FAILURES, Row
from experiments.run import run_row
from splitnet_tf.analysis.tables import text_table
from splitnet_tf.cli.define import Number, define_list, define_text
from splitnet_tf.data import Dataset, load_dataset
from splitnet_tf.errors import DataError

FLAGS = flags.FLAGS
flags.disclaim_key_flags()


def define_flags(*scales: str) -> None:
    """Defines the flags of every table; the first scale is the default."""
    flags.DEFINE_enum("scale", scales[0], scales, "Name of the recipe, see experiments/recipe.py.")
    define_text(
        "data",
        None,
        "cifar100 or an .npz file; default: planted-2-2 for smoke, else cifar100.",
    )
    define_text("data_dir", None, "Folder of CIFAR-100. Defaults to ~/tensorflow_datasets.")
    define_text("runs", "runs/experiments", "Folder of all runs. The same command again continues.")
    define_list("seeds", ["0", "1", "2"], "Seeds of each row.", Number(int, 0, 2**31 - 1))
    flags.DEFINE_boolean(
        "bfloat16", False, "Mixed precision, for GPUs and for processors that compute in bfloat16."
    )


def check_choice(flag: str, known: Iterable[str]) -> list[str]:
    """The values of a list flag.

    Raises:
      flags.Error: a value that is not among ``known``, or is there twice.
    """
    known, values = list(known), getattr(FLAGS, flag)
    wrong = [v for v in values if v not in known]
    if wrong or not values or len(set(values)) != len(values):
        raise flags.Error(f"--{flag} must be among {', '.join(known)}, each once; got {values}.")
    return values


def chosen_seeds() -> list[int]:
    """The values of ``--seeds``."""
    if not FLAGS.seeds or len(set(FLAGS.seeds)) != len(FLAGS.seeds):
        raise flags.Error(f"--seeds must name one or more, each once; got {FLAGS.seeds}.")
    return [int(seed) for seed in FLAGS.seeds]


def run_rows(rows: Iterable[tuple[Row, Recipe]]) -> None:
    """Runs rows one after the other and prints what they found."""
    if FLAGS.bfloat16:
        keras.config.set_dtype_policy("mixed_bfloat16")
    data = _data()
    lines = []
    for row, recipe in rows:
        found = run_row(row, recipe, data, Path(FLAGS.runs))
        for failure in (kind for kind in FAILURES if kind in found):
            lines.append((row.name, failure, "-", "-", "-", "-"))
            logging.warning("%s: %s", row.name, found[failure])
        if "error" in found:
            lines.append((row.name, *_cells(found)))
            logging.info("%s: test error %.2f%%", row.name, 100 * found["error"])
    print(text_table(("row", "error (%)", "before", "cut", "params (M)", "GFLOPs"), lines))


def _data() -> Dataset:
    name = FLAGS.data or ("planted-2-2" if FLAGS.scale == "smoke" else "cifar100")
    if FLAGS.data_dir is not None and name != "cifar100":
        raise flags.Error(f"--data_dir is for cifar100 and has no effect on {name}; leave it out.")
    if name == "cifar100" and find_spec("tensorflow") is None:
        raise flags.Error(
            "--data=cifar100 is read with TensorFlow, which is not installed; write a file where "
            "it is (python download_cifar100.py --npz=cifar100.npz) and give --data=cifar100.npz."
        )
    try:
        return load_dataset(name, FLAGS.data_dir)
    except DataError as error:
        raise DataError(f"--data={name}: {error}") from None


def _cells(found: dict) -> tuple[str, ...]:
    stages = [f"error_{stage}" for stage in ("before", "after_cut")]
    errors = [found["error"], *(found.get(f"{s}_recalibrated", found.get(s)) for s in stages)]
    return (
        *(f"{100 * e:.2f}" if e is not None else "-" for e in errors),
        *(f"{found['params'] / 1e6:.3f}", f"{found['flops'] / 1e9:.4f}"),
    )
