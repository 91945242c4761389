"""Evaluate: accuracy, cost and speed of a split model, beside the unsplit one."""

from __future__ import annotations

from absl import flags

from splitnet_tf.cli.data_flags import (
    define_data_flags,
    given_preprocessing,
    load_data,
    take_from_run,
)
from splitnet_tf.cli.define import PICTURES, define_integer, define_new_file, define_text
from splitnet_tf.cli.device_flags import chosen_devices, define_device_flags, run_on_devices
from splitnet_tf.cli.output import define_output_flags, show
from splitnet_tf.parallel import FORMS
from splitnet_tf.stages.evaluate_run import SPEED_BATCHES, evaluate_run

FLAGS = flags.FLAGS


def define_flags() -> None:
    define_data_flags(of_run=True)
    define_text(
        "basemodel", None, "Run folder of a split or a grouping, or a .keras file.", required=True
    )
    define_text(
        "compare",
        None,
        "Unsplit model to compare with. Defaults to the model that the tree was made from.",
    )
    define_new_file(
        "figure",
        "File for a picture of the unsplit model's split kernels, sorted by group.",
        *PICTURES,
    )
    flags.DEFINE_enum("images", "test", ["train", "valid", "test"], "Images to evaluate on.")
    flags.DEFINE_enum(
        "fuse",
        "none",
        [*FORMS, "auto"],
        "Form of a tree on one device: each branch by itself (none), the branches of a level "
        "as one (grouped), compiled by XLA (jit, grouped_jit), or the fastest of these "
        "(auto).",
    )
    flags.DEFINE_boolean(
        "bfloat16",
        False,
        "Also evaluate each model with layers that compute in bfloat16; weights stay in float32.",
    )
    define_device_flags("Also evaluate")
    define_integer(
        "speed_batches", SPEED_BATCHES, "Smallest number of batches to time.", 3, 1_000_000
    )
    define_output_flags()


def main() -> None:
    devices = chosen_devices()
    names = ("images", "compare", "trunk", "batch_size", "speed_batches", "bfloat16")
    how = {name: FLAGS[name].value for name in names}
    take_from_run(FLAGS.basemodel)
    dataset = load_data(FLAGS.basemodel)
    found = evaluate_run(
        FLAGS.basemodel,
        dataset,
        form=FLAGS.fuse,
        devices=devices,
        preprocessing=given_preprocessing(dataset),
        **how,
    )
    show(found)
    if FLAGS.figure:  # last: what was found is seen though the file cannot be written
        found.draw(FLAGS.figure)


def cli() -> None:
    """Runs ``splitnet-evaluate``."""
    define_flags()
    run_on_devices(main)


if __name__ == "__main__":
    cli()
