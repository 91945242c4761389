"""Benchmark: several devices (the paper's Table 5), parts of the work on one, a shrunk model."""

from __future__ import annotations

from collections.abc import Iterable

import keras
from absl import flags

from splitnet_tf.benchmarks.devices import benchmark_devices
from splitnet_tf.benchmarks.parts import measure_parts
from splitnet_tf.benchmarks.peers import measure_peers
from splitnet_tf.benchmarks.pictures import measure_pictures
from splitnet_tf.benchmarks.shrunk import ShrunkTimings, measure_shrunk
from splitnet_tf.benchmarks.speed_ups import draw_speed_ups
from splitnet_tf.benchmarks.table5 import as_text
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
from splitnet_tf.stages.networks import choose_model
from splitnet_tf.storage.models import load_model

FLAGS = flags.FLAGS
# The cases, and the flags that some of them read and others do not.
READS = {
    "devices": ("devices", "workers", "batches", "rows", "figure", "batch_size", "bfloat16"),
    "grouping_step": ("splits", "batch_size"),
    "sparse_step": ("batch_size",),
    "bfloat16_step": ("batch_size",),
    "split_forward": ("splits", "batch_size"),
    "take_forward": ("splits", "batch_size"),
    "input_pipeline": ("batch_size",),
    "conversion": ("splits",),
    "pictures": ("pictures", "batch_size"),
    "peers": ("splits", "batch_size"),
    "shrunk": ("shrunk", "unstructured"),
}
DEVICES, *CASES = READS
ALONE = (DEVICES, "shrunk", "pictures", "peers")


def define_flags() -> None:
    define_text("model", "wrn-16-8", f"Model: {MODEL_HELP}")
    define_text(
        "splits",
        "2-2-2",
        "Groups of each section from the bottom up: 2-2-2, or <layer>:<groups>,... Table 5 "
        "has its own.",
    )
    define_list(
        "cases",
        [DEVICES],
        f"Work to time: {DEVICES}, the paper's Table 5 for this machine; shrunk, each layer of a "
        "shrunk model; pictures, reading them from disk; peers, ours beside stock Keras and, where "
        "it is installed, PyTorch; or any of "
        f"{', '.join(case for case in CASES if case not in ALONE)}.",
    )
    define_list("devices", [], "Devices of Table 5. Defaults to the GPUs, or to --workers.")
    define_integer("workers", 2, "Workers of Table 5 without --devices, one to a core.", 2, 65_536)
    define_integer("batches", 4, "Batches of Table 5 that are timed at once.", 1, 100_000)
    define_list(
        "rows", [], "Beginnings of the names of Table 5's rows to run. Defaults to all rows."
    )
    flags.DEFINE_boolean("bfloat16", False, "Compute Table 5's layers in bfloat16.")
    define_new_file("figure", "File for a picture of Table 5.", *PICTURES)
    define_integer("batch_size", 100, "Images in a batch.", 1, 1_000_000)
    define_integer("repeats", 3, "Timed rounds, interleaved.", 3, 100_000)
    define_integer("image_size", 32, "Height and width of the images.", 8, 1024)
    define_integer("num_classes", 100, "Classes.", 2, 100_000)
    define_text("shrunk", None, "Shrunk .keras file, timed beside --model, which it was made of.")
    define_text(
        "unstructured",
        None,
        "A .keras file like --model with single weights at zero, timed as sparse matrices.",
    )
    define_text(
        "pictures",
        None,
        "Folder with a folder of pictures for each class. Defaults to pictures that are made.",
    )
    define_output_flags()


def main() -> None:
    check_cases(FLAGS.cases)
    refuse_ignored(FLAGS.cases, [name for name in FLAGS if FLAGS[name].present])
    shape = (FLAGS.image_size, FLAGS.image_size, 3)
    if DEVICES in FLAGS.cases:
        names = ("devices", "batch_size", "batches", "repeats", "rows", "bfloat16")
        how = {name: FLAGS[name].value for name in names}
        how["workers"] = FLAGS.workers if FLAGS["workers"].present else None
        document = benchmark_devices(FLAGS.model, FLAGS.num_classes, shape, **how)
        show(as_text(document), document)
        if FLAGS.figure:
            draw_speed_ups(document, FLAGS.figure)
        return
    if "shrunk" in FLAGS.cases:
        show(shrunk_timings())
        return
    for case, measure, what in (
        ("pictures", measure_pictures, FLAGS.pictures),
        ("peers", measure_peers, FLAGS.splits),
    ):
        if case in FLAGS.cases:
            keras.utils.set_random_seed(0)
            model = choose_model(FLAGS.model, FLAGS.num_classes, shape)
            how = {"batch_size": FLAGS.batch_size, "repeats": FLAGS.repeats, "name": FLAGS.model}
            show(measure(model, what, **how))
            return
    read = {name for case in FLAGS.cases for name in READS[case]}
    keras.utils.set_random_seed(0)
    found = measure_parts(
        choose_model(FLAGS.model, FLAGS.num_classes, shape),
        FLAGS.cases,
        FLAGS.splits if "splits" in read else None,
        batch_size=FLAGS.batch_size if "batch_size" in read else None,
        repeats=FLAGS.repeats,
        name=FLAGS.model,
    )
    show(found)


def shrunk_timings() -> ShrunkTimings:
    """Times of a shrunk model beside the whole one, as the flags say."""
    if FLAGS.shrunk is None or not FLAGS.model.endswith(".keras"):
        raise flags.Error("--cases=shrunk needs --shrunk and --model, two .keras files.")
    unstructured = load_model(FLAGS.unstructured) if FLAGS.unstructured else None
    models = load_model(FLAGS.model), load_model(FLAGS.shrunk)
    return measure_shrunk(*models, unstructured, repeats=FLAGS.repeats)


def check_cases(cases: list[str]) -> None:
    """Raises flags.Error for cases that are unknown or cannot be measured together."""
    if not cases:
        raise flags.Error(f"--cases must name one of {DEVICES}, {', '.join(CASES)}, or more.")
    for case in cases:
        if case not in READS:
            raise flags.Error(f"--cases must be of {DEVICES}, {', '.join(CASES)}; got '{case}'.")
    for case in ALONE:
        if case in cases and len(cases) > 1:
            raise flags.Error(f"--cases={case} is measured by itself; name the others apart.")


def refuse_ignored(cases: Iterable[str], given: Iterable[str]) -> None:
    """Raises flags.Error when a flag that was given has no effect in any of the cases."""
    for name in given:
        readers = [case for case, read in READS.items() if name in read]
        if readers and not set(readers) & set(cases):
            raise flags.Error(
                f"--{name} has no effect with --cases={','.join(cases)}; it is for "
                f"--cases={','.join(readers)}."
            )


def cli() -> None:
    """Runs ``splitnet-benchmark``."""
    define_flags()
    run_program(main)


if __name__ == "__main__":
    cli()
