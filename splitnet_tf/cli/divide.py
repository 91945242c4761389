"""Divide: bytes that cross between devices against accuracy, of models with blocks of zeros."""

from __future__ import annotations

from pathlib import Path

from absl import flags

from splitnet_tf.cli.data_flags import (
    define_data_flags,
    given_preprocessing,
    load_data,
    take_from_run,
)
from splitnet_tf.cli.define import define_integer, define_list, define_new_file
from splitnet_tf.cli.output import define_output_flags, show
from splitnet_tf.cli.program import run_program
from splitnet_tf.data.feeds import SplitFeed
from splitnet_tf.graph import logits_model
from splitnet_tf.stages.crossing import CrossingTable, compare_crossing
from splitnet_tf.stages.data_loss import data_loss
from splitnet_tf.stages.networks import check_fits
from splitnet_tf.stages.preprocessing import known_of, preprocessing_for
from splitnet_tf.stages.run_files import model_file, named_model

FLAGS = flags.FLAGS


def define_flags() -> None:
    define_data_flags(of_run=True)
    define_list(
        "models",
        None,
        "Run folders or .keras files, such as those of --blocks with more strengths.",
    )
    define_integer(
        "num_devices",
        2,
        "Devices; each has an equal part of every layer's channels, in order.",
        2,
        1024,
    )
    define_new_file(
        "output_model",
        "File for the divided model, where --models has one alone: stock Keras layers, a nested "
        "model for each part of a device.",
        ".keras",
    )
    define_output_flags()
    flags.mark_flag_as_required("models")


def main() -> None:
    if FLAGS.output_model and len(FLAGS.models) > 1:
        raise flags.Error("--output_model takes one divided model; give one of --models.")
    files = {name: model_file("models", Path(name)) for name in FLAGS.models}
    take_from_run(FLAGS.models[0])
    dataset, found = load_data(FLAGS.models[0]), {}
    for name, path in files.items():
        model = named_model("models", Path(name))
        check_fits(str(path), model, dataset)
        model = logits_model(model, dataset.multi_label, dataset.classifiers)
        fed = preprocessing_for(known_of("models", path), given_preprocessing(dataset), dataset)
        feed = SplitFeed(dataset.test, FLAGS.batch_size, preprocessing=fed)
        loss = data_loss(dataset, model)
        found |= compare_crossing({name: model}, feed, FLAGS.num_devices, loss=loss).models
    show(CrossingTable(FLAGS.num_devices, found))
    if FLAGS.output_model:
        found[FLAGS.models[0]].divided.save(FLAGS.output_model)


def cli() -> None:
    """Runs ``splitnet-divide``."""
    define_flags()
    run_program(main)


if __name__ == "__main__":
    cli()
