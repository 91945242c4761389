"""Split: cuts a grouped model into a tree of branches and finetunes the tree."""

from __future__ import annotations

import logging
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf
from absl import flags

from splitnet_tf.analysis import cost
from splitnet_tf.cli.define import define_float, define_integer, define_text
from splitnet_tf.cli.device_flags import chosen_devices, define_device_flags, run_on_devices
from splitnet_tf.cli.group import Described
from splitnet_tf.cli.start_files import check_start_files
from splitnet_tf.cli.training_flags import (
    FREE_SETTINGS,
    check_training_flags,
    data_settings,
    define_data_flags,
    define_training_flags,
    epoch_steps,
    learning_rate,
    load_data,
    make_optimizer,
    settings,
    train_options,
    train_step,
)
from splitnet_tf.data import calibration_batches, evaluation_batches, training_batches, whiten
from splitnet_tf.errors import EmptyGroupError, GroupingError, RunError
from splitnet_tf.graph import plain_copy
from splitnet_tf.grouping import Grouping, SplitPlan, read_grouping
from splitnet_tf.parallel import PlacedTrainStep, place
from splitnet_tf.recipe import CrossEntropy, recalibrate_batch_norm
from splitnet_tf.runs import RunDirectory, SplitResult, base_digest
from splitnet_tf.runs.names import RESULTS
from splitnet_tf.splitting import mask_off_blocks, off_block_energy, split_model
from splitnet_tf.stages.networks import check_classes, check_fits, check_run_folder
from splitnet_tf.storage.models import load_model, save_model
from splitnet_tf.training import Trainer, compiled_forward, evaluate

FLAGS = flags.FLAGS


def define_flags() -> None:
    define_data_flags()
    define_training_flags(epochs=16, initial_lr=0.1, final_lr=0.0)
    define_text("basemodel", None, "Run folder of the grouping, or a .keras file.", required=True)
    define_text("grouping", None, "Grouping file; default: that of --basemodel.")
    flags.DEFINE_enum(
        "method",
        "file",
        ["file", "argmax", "balanced"],
        "Take the grouping from its file, or read it anew from the assignments: by the largest p, "
        "or the best groups of equal size.",
    )
    define_integer(
        "recalibrate_batches",
        100,
        "Training batches to re-estimate batch-norm statistics on; 0: none.",
        0,
        1_000_000,
    )
    define_integer(
        "patience",
        0,
        "Evaluations without a better validation accuracy after which it ends; 0: never.",
        0,
        1_000_000,
    )
    define_float(
        "dropout_keep_prob",
        None,
        "Share of features kept by the tree's dropout layers; default: as grouped.",
        0.01,
        1,
    )
    define_device_flags("Finetune")


def main() -> None:
    if (FLAGS.devices or FLAGS.cluster) and FLAGS.jit_compile:
        raise flags.Error("--jit_compile does not work across --devices; leave one of them out.")
    if FLAGS.grouping and FLAGS.method != "file":
        raise flags.Error(f"--grouping has no effect with --method={FLAGS.method}; leave one out.")
    check_start_files("basemodel", "grouping")
    devices = chosen_devices()
    keras.utils.set_random_seed(FLAGS.seed)
    if FLAGS.deterministic:
        tf.config.experimental.enable_op_determinism()
    dataset = load_data()
    base, grouping = load_grouped(dataset)
    plan = SplitPlan.from_sections(base, grouping.sections)
    check_training_flags(dataset)
    keep = FLAGS.dropout_keep_prob
    tree = split_model(base, grouping, plan, None if keep is None else 1 - keep)
    # The digest keeps checkpoints of one base and grouping out of the tree of another.
    config = {
        **settings(),
        **data_settings(dataset),
        "base_digest": base_digest(base, grouping.to_json()),
    }
    run = RunDirectory(FLAGS.train_dir, config, FLAGS.restart, free=FREE_SETTINGS, results=RESULTS)
    FLAGS.restart = False  # it is done: after a lost worker the run goes on
    difference = check_tree(base, plan, grouping, tree, dataset)
    logging.info("The tree computes what the masked model computes: %.1e apart.", difference)
    stages = {
        "before": test_accuracy(base, dataset),
        "cut": test_accuracy(tree.model, dataset),
    }
    if FLAGS.recalibrate_batches:
        recalibrate_batch_norm(
            tree.model,
            calibration_batches(
                dataset.train, FLAGS.batch_size, FLAGS.recalibrate_batches, FLAGS.seed
            ),
        )
        stages["recalibrated"] = test_accuracy(tree.model, dataset)
    save_model(tree.model, run.path / "cut.keras")
    if devices:
        placed = place(tree, devices, FLAGS.trunk)
        step = PlacedTrainStep(
            placed,
            CrossEntropy(FLAGS.label_smoothing),
            make_optimizer,
            l2=FLAGS.l2_weight,
            bfloat16=FLAGS.bfloat16,
        )
        logging.info("%s", placed.placement)
    else:
        step = train_step(tree.model)
    trainer = Trainer(
        step,
        train_options(dataset),
        run,
        lambda start: training_batches(
            dataset.train, FLAGS.batch_size, FLAGS.seed + 1, start, FLAGS.augment
        ),
        lambda: evaluation_batches(dataset.valid, 200),
        learning_rate=learning_rate(dataset),
        hooks=[Described(tree.model, config)],
    )
    result = trainer.train()
    valid_accuracy = result.valid_accuracy
    if FLAGS.patience and trainer.restore_best():
        valid_accuracy = result.best_accuracy
    if devices:
        placed.gather()
    stages["finetuned"] = test_accuracy(tree.model, dataset)
    save_model(tree.model, run.path / "tree.keras")
    grouping.save(run.path / "grouping.json")
    whole, parts = cost(base), cost(tree.model)
    SplitResult(
        steps=result.step,
        epochs=result.step / epoch_steps(dataset),
        stopped=result.stopped,
        rollbacks=result.rollbacks,
        valid_accuracy=valid_accuracy,
        test_accuracy=stages,
        off_block_energy=off_block_energy(base, grouping, plan),
        params={"before": whole.params, "after": parts.params},
        flops={"before": whole.flops, "after": parts.flops},
        group_sizes=[len(m) for m in grouping.classes.members],
    ).write(run.path)
    for stage, accuracy in stages.items():
        logging.info("test accuracy %-13s %.2f%%", stage, 100 * accuracy)
    logging.info(
        "params %.3f -> %.3f million, FLOPs %.3f -> %.3f billion. Written to %s.",
        whole.params / 1e6,
        parts.params / 1e6,
        whole.flops / 1e9,
        parts.flops / 1e9,
        run.path,
    )


def load_grouped(dataset) -> tuple[keras.Model, Grouping]:
    """The grouped model and its grouping."""
    path = Path(FLAGS.basemodel)
    check_run_folder("basemodel", path, "group first, with group.sh say")
    model = load_model(path / "grouped.keras" if path.is_dir() else path)
    check_fits(f"--basemodel={path}", model, dataset)
    file = Path(FLAGS.grouping or (path if path.is_dir() else path.parent) / "grouping.json")
    try:
        grouping = Grouping.load(file)
    except GroupingError:
        if FLAGS.method == "file":
            raise
    else:
        check_classes(file, grouping, dataset)
        if FLAGS.method == "file":
            return model, grouping
    try:
        return model, read_grouping(model, FLAGS.method, dataset.class_names)
    except EmptyGroupError as error:
        raise GroupingError(
            f"{error.what}, by the assignments of --basemodel={path}; read them with "
            "--method=balanced, or group anew with a larger --gamma3."
        ) from None


def check_tree(base, plan, grouping, tree, dataset) -> float:
    """How far the tree is from the model with its off-block weights at zero, relatively.

    Raises:
      RunError: further than rounding explains; nothing is written.
    """
    masked = plain_copy(base)
    mask_off_blocks(masked, grouping, plan)
    images = whiten(dataset.valid.images[:32])
    expected = masked(images, training=False).numpy()
    found = tree.model(images, training=False).numpy()
    difference = float(np.abs(found - expected).max() / max(1.0, np.abs(expected).max()))
    if not difference < 1e-4:
        raise RunError(
            f"The tree differs from the masked model by {difference:.1e}; it is not written. This "
            "is a fault of the split: please report the model's layers."
        )
    return difference


def test_accuracy(model, dataset) -> float:
    return evaluate(compiled_forward(model), evaluation_batches(dataset.test, 200)).top1


def cli() -> None:
    """Entry point of ``splitnet-split``."""
    define_flags()
    run_on_devices(main)


if __name__ == "__main__":
    cli()
