"""Split: cuts a grouped model into a tree of branches and finetunes the tree."""

from __future__ import annotations

import logging
from typing import Any

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
from splitnet_tf.cli.define import define_float, define_integer, define_text
from splitnet_tf.cli.device_flags import (
    RELAUNCH,
    chosen_devices,
    define_device_flags,
    run_on_devices,
)
from splitnet_tf.cli.distribute_flags import (
    check_distribute_flags,
    define_distribute_flags,
    over_devices,
)
from splitnet_tf.cli.teaching_flags import define_teaching_flags, teacher, teaching
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
from splitnet_tf.data import Dataset, calibration_batches
from splitnet_tf.grouping import SplitPlan
from splitnet_tf.grouping.blocks import check_grouping
from splitnet_tf.recipe.phase import Phase
from splitnet_tf.recipe.preprocessing import Preprocessing
from splitnet_tf.runs import base_digest
from splitnet_tf.runs.names import GROUPED
from splitnet_tf.runs.start_files import check_start_files
from splitnet_tf.stages.base import load_grouped
from splitnet_tf.stages.finetune import check_placing
from splitnet_tf.stages.loop import check_phase
from splitnet_tf.stages.preprocessing import known_of, preprocessing_for
from splitnet_tf.stages.split import split
from splitnet_tf.stages.teaching import teacher_settings

FLAGS = flags.FLAGS


def define_flags() -> None:
    define_data_flags(of_run=True)
    define_training_flags(epochs=16, initial_lr=0.1, final_lr=0.0)
    define_text(
        "basemodel", None, "Run folder of the grouping, or a grouped .keras file.", required=True
    )
    define_text("grouping", None, "Grouping file. Defaults to that of --basemodel.")
    flags.DEFINE_enum(
        "method",
        "file",
        ["file", "argmax", "balanced"],
        "Source of the groups: the grouping file (file), or the assignments, by the largest p"
        " (argmax) or as the best groups of equal size (balanced).",
    )
    define_integer(
        "recalibrate_batches",
        100,
        "Training batches on which batch-norm statistics are re-estimated after the cut; 0 "
        "for none.",
        0,
        1_000_000,
    )
    define_patience_flag()
    define_float(
        "dropout_keep_prob",
        None,
        "Share of features that the tree's dropout layers keep. Defaults to that of the "
        "grouped model.",
        0.01,
        1,
    )
    define_teaching_flags(before=True)
    define_device_flags("Finetune")
    define_distribute_flags()


def main() -> None:
    check_flags()
    devices = chosen_devices()
    take_from_run(FLAGS.basemodel, None if FLAGS.restart else FLAGS.train_dir)
    set_seeds()
    dataset = load_data(FLAGS.basemodel)
    weights = class_weights(dataset)
    base, grouping = load_grouped(FLAGS.basemodel, dataset, FLAGS.grouping, FLAGS.method)
    known = known_of("base", FLAGS.basemodel, (GROUPED,))
    preprocessing = preprocessing_for(known, given_preprocessing(dataset), dataset)
    train, valid, test = split_feeds(dataset, FLAGS.seed + 1, preprocessing)
    phase, how = Phase(**phase_values()), over_devices(loop(FLAGS.patience), devices)
    check_phase(phase, how, train.steps_per_epoch)
    taught = {"teacher": teacher(base, preprocessing, base), "teaching": teaching()}
    # What cannot be split is found before the run folder is made.
    check_grouping(SplitPlan.from_sections(base, grouping.sections), grouping)
    config = {
        **settings(),
        **data_settings(dataset, preprocessing),
        # Keeps checkpoints of one base and grouping out of the tree of another.
        "base_digest": base_digest(base, grouping.to_json()),
        **teacher_settings(taught["teacher"]),
    }
    run = make_run(config)
    RELAUNCH.append("--restart=false")  # it is done: after a lost worker the run goes on
    found = split(
        *(base, grouping, train, valid, test, phase),
        run=run,
        loop=how,
        **after_cut(dataset, preprocessing),
        loss=several_loss(dataset, base, phase),
        class_weight=weights,
        **taught,
        devices=() if how.distribute else devices,
        trunk=FLAGS.trunk,
        measure_start=True,
        preprocessing=preprocessing,
        settings=config,
    )
    logging.info("%s\nWritten to %s.", found, FLAGS.train_dir)


def check_flags() -> None:
    """Takes the recipe, and refuses flags that do not go together, before anything is read."""
    take_recipe()
    if FLAGS.grouping and FLAGS.method != "file":
        raise flags.Error(f"--grouping has no effect with --method={FLAGS.method}; leave one out.")
    teaching()
    check_distribute_flags(places=True)
    check_placing(FLAGS.devices or FLAGS.cluster, FLAGS.trunk, loop())
    check_start_files(
        FLAGS.train_dir, FLAGS.basemodel, grouping=FLAGS.grouping, teacher=FLAGS.teacher
    )


def after_cut(dataset: Dataset, preprocessing: Preprocessing) -> dict[str, Any]:
    """Arguments of ``split`` for batch norms and dropout of the tree."""
    keep, count = FLAGS.dropout_keep_prob, FLAGS.recalibrate_batches
    batches = calibration_batches(
        *(dataset.train, FLAGS.batch_size, count, FLAGS.seed), preprocessing=preprocessing
    )
    return {
        "recalibrate": batches,
        "recalibrate_batches": count,
        "dropout": None if keep is None else 1 - keep,
    }


def cli() -> None:
    """Entry point of ``splitnet-split``."""
    define_flags()
    run_on_devices(main)


if __name__ == "__main__":
    cli()
