"""Evaluate: accuracy, cost and speed of a split model, beside the unsplit one."""

from __future__ import annotations

from absl import flags

from splitnet_tf.cli.define import PICTURES, define_integer, define_new_file, define_text
from splitnet_tf.cli.device_flags import chosen_devices, define_device_flags, run_on_devices
from splitnet_tf.cli.output import define_output_flags, show
from splitnet_tf.cli.training_flags import define_data_flags, load_data
from splitnet_tf.parallel import FORMS
from splitnet_tf.stages.evaluate_run import SPEED_BATCHES, evaluate_run

FLAGS = flags.FLAGS


def define_flags() -> None:
    define_data_flags()
    define_text(
        "basemodel", None, "Run folder of a split or grouping, or a .keras file.", required=True
    )
    define_text("compare", None, "Unsplit model to show too. Default: the one that was split.")
    define_new_file(
        "figure", "Picture of the unsplit model's split kernels, sorted by group.", *PICTURES
    )
    flags.DEFINE_enum("images", "test", ["train", "valid", "test"], "Images to evaluate on.")
    flags.DEFINE_enum(
        "fuse",
        "none",
        [*FORMS, "auto"],
        "Form of a split model on one device: each branch by itself, the branches of a level as "
        "one (grouped), compiled by XLA, or the fastest of these here.",
    )
    define_device_flags("Also evaluate")
    define_integer("speed_batches", SPEED_BATCHES, "Least number of timed batches.", 3, 1_000_000)
    define_output_flags()


def main() -> None:
    devices = chosen_devices()
    found = evaluate_run(
        FLAGS.basemodel,
        load_data(),
        images=FLAGS.images,
        compare=FLAGS.compare,
        form=FLAGS.fuse,
        devices=devices,
        trunk=FLAGS.trunk,
        batch_size=FLAGS.batch_size,
        speed_batches=FLAGS.speed_batches,
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
