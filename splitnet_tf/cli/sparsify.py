"""Sparsify: trains a classifier while it learns what it can do without (SSL)."""

from __future__ import annotations

import logging

from absl import flags

from splitnet_tf.cli.class_weight_flag import class_weights
from splitnet_tf.cli.data_flags import (
    data_settings,
    define_data_flags,
    given_preprocessing,
    load_data,
    split_feeds,
)
from splitnet_tf.cli.define import MODEL_HELP, define_text
from splitnet_tf.cli.program import run_program
from splitnet_tf.cli.sparsity_flags import define_sparsity_flags, sparsity_recipe
from splitnet_tf.cli.training_flags import (
    define_training_flags,
    loop,
    make_run,
    set_seeds,
    settings,
    several_loss,
    take_recipe,
)
from splitnet_tf.runs.start_files import check_start_files
from splitnet_tf.stages.base import start_model, start_settings
from splitnet_tf.stages.loop import check_phase
from splitnet_tf.stages.sparsify import check_targets, sparsify, strength_steps

FLAGS = flags.FLAGS


def define_flags() -> None:
    define_data_flags()
    define_training_flags(epochs=8, initial_lr=0.1, final_lr=0.0)
    define_text("model", None, f"Model: {MODEL_HELP}", required=True)
    define_text("basemodel", None, "Trained model to start from: a .keras file or a run folder.")
    define_sparsity_flags()


def main() -> None:
    take_recipe("ema")  # averaged weights have no zeros
    check_start_files(FLAGS.train_dir, FLAGS.basemodel, model=FLAGS.model)
    recipe = sparsity_recipe()
    set_seeds()
    dataset = load_data()
    weights = class_weights(dataset)
    model, preprocessing = start_model(
        FLAGS.model, dataset, given_preprocessing(dataset), base=FLAGS.basemodel
    )
    train, valid, test = split_feeds(dataset, FLAGS.seed, preprocessing)
    # What the flags make wrong is found before they are written into the run folder.
    check_phase(recipe, loop(), train.steps_per_epoch)
    strength_steps(recipe, loop(), train.steps_per_epoch)
    recipe.terms(model)
    check_targets(model, recipe)
    started = start_settings(model, FLAGS.model, FLAGS.basemodel)
    config = {**settings(), **data_settings(dataset, preprocessing), **started}
    found = sparsify(
        model,
        train,
        valid,
        recipe,
        run=make_run(config),
        test=test,
        loop=loop(),
        class_weight=weights,
        loss=several_loss(dataset, model, recipe),
        measure_start=bool(started),
        preprocessing=preprocessing,
        settings=settings(),
    )
    logging.info("%s\nWritten to %s.", found, FLAGS.train_dir)


def cli() -> None:
    """Entry point of ``splitnet-sparsify``."""
    define_flags()
    run_program(main)


if __name__ == "__main__":
    cli()
