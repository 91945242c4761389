"""Shrink: takes out of a model what its zeros make useless, and finetunes the smaller model."""

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
    take_from_run,
)
from splitnet_tf.cli.define import define_float, define_text
from splitnet_tf.cli.program import run_program
from splitnet_tf.cli.training_flags import (
    define_patience_flag,
    define_training_flags,
    loop,
    make_run,
    phase_values,
    set_seeds,
    settings,
    several_loss,
    take_recipe,
)
from splitnet_tf.recipe.phase import Phase
from splitnet_tf.runs import base_digest
from splitnet_tf.runs.names import WHOLE
from splitnet_tf.runs.start_files import check_start_files
from splitnet_tf.sparsity import predict_changes
from splitnet_tf.stages.loop import check_phase
from splitnet_tf.stages.preprocessing import known_of, preprocessing_for
from splitnet_tf.stages.selections import METHODS, choose_selection, whole_model
from splitnet_tf.stages.shrink import shrink

FLAGS = flags.FLAGS


def define_flags() -> None:
    define_data_flags(of_run=True)
    define_training_flags(epochs=16, initial_lr=0.1, final_lr=0.0)
    define_text(
        "basemodel",
        None,
        "Run folder of a sparse or a plain training, or a .keras file.",
        required=True,
    )
    flags.DEFINE_enum(
        "method",
        "zeros",
        list(METHODS),
        "Choice of what stays: all that exact zeros do not free (zeros), the groups with the "
        "largest norms (norms), or channels at random (random).",
    )
    define_text(
        "selection",
        None,
        "Selection file to take in place of the zeros; with --method=random as many channels as "
        "it keeps are taken.",
    )
    flags.DEFINE_enum(
        "structure", "spaces", ["spaces", "shapes", "depth"], "Groups of --method=norms."
    )
    define_float("keep", None, "Share of the groups that --method=norms or random keeps.", 1e-6, 1)
    define_float("threshold", None, "Largest norm that --method=norms takes out.", 0, 1e6)
    flags.DEFINE_boolean(
        "gather",
        False,
        "Gather the columns in use of a kernel, where they are neither whole channels nor a box of "
        "the window, and multiply by a smaller kernel.",
    )
    define_patience_flag()


def main() -> None:
    take_recipe()
    check_start_files(FLAGS.train_dir, FLAGS.basemodel, selection=FLAGS.selection)
    take_from_run(FLAGS.basemodel, None if FLAGS.restart else FLAGS.train_dir)
    set_seeds()
    dataset = load_data(FLAGS.basemodel)
    weights = class_weights(dataset)
    model = whole_model(FLAGS.basemodel, dataset)
    known = known_of("base", FLAGS.basemodel, WHOLE)
    preprocessing = preprocessing_for(known, given_preprocessing(dataset), dataset)
    names = ("method", "selection", "structure", "keep", "threshold", "seed")
    selection = choose_selection(model, **{name: FLAGS[name].value for name in names})
    train, valid, test = split_feeds(dataset, FLAGS.seed + 1, preprocessing)
    phase = Phase(**phase_values())
    check_phase(phase, loop(FLAGS.patience), train.steps_per_epoch)
    predict_changes(model, selection)  # what does not fit is found before the run folder is made
    config = {
        **settings(),
        **data_settings(dataset, preprocessing),
        # Keeps checkpoints of one base and selection out of the smaller model of another.
        "base_digest": base_digest(model, selection.to_json()),
    }
    found = shrink(
        model,
        train,
        valid,
        test,
        phase,
        selection=selection,
        gather=FLAGS.gather,
        run=make_run(config),
        loop=loop(FLAGS.patience),
        class_weight=weights,
        loss=several_loss(dataset, model, phase),
        measure_start=True,
        preprocessing=preprocessing,
        settings=config,
    )
    logging.info("%s\nWritten to %s.", found, FLAGS.train_dir)


def cli() -> None:
    """Entry point of ``splitnet-shrink``."""
    define_flags()
    run_program(main)


if __name__ == "__main__":
    cli()
