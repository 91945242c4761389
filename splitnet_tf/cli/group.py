"""Group: trains a classifier while it learns which classes and features belong together."""

from __future__ import annotations

import dataclasses
import logging

import keras
import numpy as np
import tensorflow as tf
from absl import flags

from splitnet_tf.cli.base_model import (
    accuracy_at_start,
    build_model,
    keep_probability,
    sections,
    starts_trained,
)
from splitnet_tf.cli.define import MAX_EPOCHS, MODEL_HELP, define_float, define_integer, define_text
from splitnet_tf.cli.given_flags import (
    classes_after_warmup,
    define_given_flags,
    given_classes,
    grouping_method,
)
from splitnet_tf.cli.program import run_program
from splitnet_tf.cli.start_files import check_start_files
from splitnet_tf.cli.training_flags import (
    FREE_SETTINGS,
    check_training_flags,
    data_settings,
    define_data_flags,
    define_training_flags,
    epoch_steps,
    learning_rate,
    length_flag,
    load_data,
    settings,
    total_steps,
    train_options,
    train_step,
)
from splitnet_tf.data import evaluation_batches, training_batches
from splitnet_tf.errors import EmptyGroupError, GroupingError, PlanError
from splitnet_tf.grouping import Grouping, SplitPlan, group_model, read_grouping, split_losses
from splitnet_tf.grouping.convergence import GroupingConverged
from splitnet_tf.grouping.paces import gradient_scales
from splitnet_tf.grouping.recipe import GroupingRecipe
from splitnet_tf.grouping.schedule import ScheduleAction
from splitnet_tf.grouping.split_losses import TERMS
from splitnet_tf.grouping.start import given_assignments
from splitnet_tf.grouping.watch import GroupingWatch, grouping_status
from splitnet_tf.runs import GroupResult, RunDirectory
from splitnet_tf.runs.names import RESULTS
from splitnet_tf.splitting import off_block_energy
from splitnet_tf.stages.grouping_pictures import GroupingPictures
from splitnet_tf.storage.digests import digest_arrays
from splitnet_tf.storage.models import save_model
from splitnet_tf.training import Hook, Trainer, compiled_forward, evaluate
from splitnet_tf.training.options import MAX_STEPS
from splitnet_tf.training.run_summaries import write_run

FLAGS = flags.FLAGS


def define_flags() -> None:
    define_data_flags()
    define_training_flags(epochs=8, initial_lr=0.1, final_lr=0.02)
    define_text("model", None, f"{MODEL_HELP} Default: from the next two.")
    define_integer("num_residual_units", 2, "Units in a stage of the WRN.", 1, 100)
    define_integer("k", 8, "Width of the WRN.", 1, 100)
    define_text("splits", None, "Groups from the bottom up: 2-2-2, or <layer>:<groups>,...")
    define_integer("ngroups1", 2, "Groups of the logits.", 1, 10_000)
    define_integer("ngroups2", 2, "Groups of the third stage.", 1, 10_000)
    define_integer("ngroups3", 2, "Groups of the second stage.", 1, 10_000)
    order = "The paper's order; the 2017 code numbered them otherwise."
    define_float("gamma1", 1.0, f"Weight of R_W, group weights. {order}", 0, 1e6)
    define_float("gamma2", 1.0, f"Weight of R_D, disjointness. {order}", 0, 1e6)
    define_float("gamma3", 10.0, f"Weight of R_E, balance. {order}", 0, 1e6)
    define_float(
        "gamma1_growth",
        20.0,
        "Factor by which gamma1 has grown after three fifths of the grouping, so that little is "
        "left off the blocks at the cut.",
        1,
        1e6,
    )
    define_given_flags()
    flags.DEFINE_enum(
        "scaling",
        "unit",
        ["unit", "paper"],
        "Split losses of a size that does not depend on the layer's, or the paper's plain "
        "equations.",
    )
    flags.DEFINE_boolean(
        "weighted_group_loss", False, "R_W over kernels weighted by their own R_W, not their mean."
    )
    flags.DEFINE_enum(
        "assignment_init",
        "clustering",
        ["clustering", "random"],
        "Start of the assignments: clusters of the warmed-up weights, or noise (the paper).",
    )
    define_float("warmup_epochs", 5.0, "Epochs before the split losses set in.", 0, MAX_EPOCHS)
    define_float(
        "assignment_lr_scale", 8.0, "Pace of the assignments against the weights.", 0, 10_000
    )
    define_float(
        "dropout_keep_prob",
        None,
        "Share of features kept by dropout, of a WRN in its split units; default: the model's "
        "own, half in AlexNet, all in a WRN, ResNet or perceptron. A .keras file keeps its own.",
        0.01,
        1,
    )
    flags.DEFINE_boolean("bn_no_scale", False, "Batch norm without scale.")
    flags.DEFINE_boolean("finetune", False, "Ten times the gradients on the split layers.")
    define_text("basemodel", None, "Start from this .keras file or run folder.")
    flags.DEFINE_enum(
        "method",
        "argmax",
        ["argmax", "balanced"],
        "How groups are read from the assignments: by the largest p, or the best groups of equal "
        "size.",
    )
    define_float(
        "converged_p", 0.99, "Grouping has converged: least mean largest p of every space.", 0, 1
    )
    define_integer(
        "converged_hold",
        3,
        "Grouping has converged: evaluations over which no channel changed its group.",
        0,
        1_000_000,
    )
    define_float(
        "converged_off_block",
        0.002,
        "Grouping has converged: most of the split kernels' energy outside the blocks.",
        0,
        1,
    )
    define_integer(
        "group_summary_interval",
        0,
        "Steps between pictures of the groups, which are drawn at evaluations; 0: five of those.",
        0,
        MAX_STEPS,
    )


def main() -> None:
    check_start_files("basemodel", "model", "grouping")
    keras.utils.set_random_seed(FLAGS.seed)
    if FLAGS.deterministic:
        tf.config.experimental.enable_op_determinism()
    dataset = load_data()
    plain = build_model(dataset)
    plan = SplitPlan.from_sections(plain, sections())
    check_training_flags(dataset)
    if plan.kernels:
        warmup_steps(dataset)
    known = given_classes(dataset, plan)
    # Files that a run starts from may not change under it.
    config = {**settings(), **data_settings(dataset), "dropout_keep_prob": keep_probability()}
    config["given_digest"] = digest_arrays([known]) if known is not None else None
    if starts_trained():
        config["start_digest"] = digest_arrays(plain.get_weights())
    # What the flags make wrong is found before they are written into the run folder.
    grouped = make_grouped(plain, plan) if plan.kernels else None
    run = RunDirectory(FLAGS.train_dir, config, FLAGS.restart, free=FREE_SETTINGS, results=RESULTS)
    if grouped is not None:
        train_grouped(dataset, grouped, plan, run, known)
    else:
        train_plain(dataset, plain, run)


def warmup_steps(dataset) -> int:
    """Steps before the split losses set in."""
    warmup, total = round(FLAGS.warmup_epochs * epoch_steps(dataset)), total_steps(dataset)
    if warmup >= total:
        raise flags.Error(
            f"--warmup_epochs={FLAGS.warmup_epochs:g} leaves no step of {total} to group in; "
            f"lower it or raise {length_flag()}."
        )
    return warmup


def train_plain(dataset, model, run) -> None:
    """All sections have one group: an ordinary training, to compare with."""
    logging.info("No kernel is split: training the plain model.")
    trainer = make_trainer(dataset, model, run, learning_rate(dataset))
    more = accuracy_at_start(dataset, model)
    result = trainer.train()
    save_model(model, run.path / "model.keras")
    write_result(run, dataset, model, result, more)


def make_grouped(plain, plan) -> keras.Model:
    """The grouped model.

    Raises:
      PlanError: the plan does not split the classes, or a layer that cannot be grouped.
    """
    if len(plan.class_spaces) != 1:
        raise PlanError(
            f"The classes of --model are made by several layers ({', '.join(plan.class_spaces)}); "
            "give a model with one layer of logits."
        )
    if plan.class_spaces[0] not in {s.name for s in plan.spaces}:
        raise PlanError("The classes themselves are not split; let a section reach the logits.")
    return group_model(
        plain,
        plan,
        FLAGS.gamma1,
        FLAGS.gamma2,
        FLAGS.gamma3,
        scaling=FLAGS.scaling,
        reduction="weighted" if FLAGS.weighted_group_loss else "mean",
        seed=FLAGS.seed,
    )


def train_grouped(dataset, grouped, plan, run, known) -> None:
    """Warm-up, then grouping; ``known`` are groups of the classes given before it."""
    logging.info("%s", plan)
    losses = split_losses(grouped)
    warmup, total = warmup_steps(dataset), total_steps(dataset)
    grown = warmup + round(GroupingRecipe.growth_share * (total - warmup))
    watch = GroupingWatch(losses, total)
    classes = classes_after_warmup(dataset, plan, grouped, losses, known)
    still = given_assignments(losses, FLAGS.features) if classes is not None else ()
    faster = 10.0 if FLAGS.finetune else 1.0
    scales = gradient_scales(losses, FLAGS.assignment_lr_scale, still, faster)

    hook = _Grouping(
        ScheduleAction(
            losses,
            plan,
            warmup,
            grown,
            FLAGS.gamma1_growth,
            FLAGS.assignment_init,
            FLAGS.seed,
            classes,
            FLAGS.features,
        ),
        watch,
        _watching(
            watch,
            GroupingPictures(losses, plan, dataset.class_names),
            warmup,
            train_options(dataset).val_interval,
        ),
        GroupingConverged(
            watch.memberships,
            watch.off_block_energy,
            FLAGS.converged_p,
            FLAGS.converged_hold,
            FLAGS.converged_off_block,
            not_before=warmup + 1,
        ),
    )
    rate = learning_rate(dataset, hold=warmup)
    trainer = make_trainer(dataset, grouped, run, rate, scales, [hook])
    more = accuracy_at_start(dataset, grouped)
    result = trainer.train()
    save_model(grouped, run.path / "grouped.keras")  # first, as a group may be empty
    grouping = read_trained(grouped, dataset)
    grouping.save(run.path / "grouping.json")
    for group, names in enumerate(grouping.class_groups()):
        logging.info("group %d (%d classes): %s", group, len(names), ", ".join(names))
    # Of the groups that are written, which --method may read otherwise than the training did.
    shares = off_block_energy(grouped, grouping)
    more["off_block_energy"] = float(np.mean(list(shares.values())))
    write_result(run, dataset, grouped, result, more)


def read_trained(grouped, dataset) -> Grouping:
    """The grouping that was learned; the sentence on an empty group names this program's flags."""
    try:
        grouping = read_grouping(grouped, FLAGS.method, dataset.class_names)
    except EmptyGroupError as error:
        now = f"run again with --method=balanced and --train_dir={FLAGS.train_dir} for groups of "
        now += "equal size from this training, or "
        if FLAGS.grouping != "learned":
            now = ""  # balanced would change given groups
        raise GroupingError(
            f"{error.what}; {now}train anew with a larger --gamma3 in another --train_dir."
        ) from None
    return dataclasses.replace(grouping, method=grouping_method(FLAGS.method))


class _Grouping(Hook):
    """What happens while the groups are learned."""

    loss_names, loss_group = TERMS, "split_losses"

    def __init__(self, schedule, watch, summarize, converged):
        self.before_step = schedule
        self.scalars = watch.scalars
        self.status = grouping_status
        self.summarize = summarize
        self._converged = converged

    @property
    def state(self):
        return self._converged.state

    @state.setter
    def state(self, state):
        self._converged.state = state

    def stop(self, step):
        return "converged" if self._converged(step) else ""


class Described(Hook):
    """Writes settings and graph of a run for TensorBoard."""

    def __init__(self, model, config):
        self._model, self._config = model, config

    def begin(self, writer):
        write_run(writer, self._model, self._config)


def _watching(watch: GroupingWatch, pictures: GroupingPictures, warmup: int, val_interval: int):
    """What happens to a grouping at each evaluation besides scalars."""
    interval = FLAGS.group_summary_interval or 5 * val_interval

    def summarize(step, writer):
        before = (step - 1) // val_interval * val_interval  # the evaluation before this one
        if step // interval > before // interval:
            pictures.write(step, writer)
        if step > warmup:
            for sentence in watch.warnings(step):
                logging.warning("step %d: %s", step, sentence)

    return summarize


def make_trainer(dataset, model, run, schedule, paces=(), hooks=()) -> Trainer:
    """A trainer on the data set, as the flags say."""

    def batches(start):
        return training_batches(dataset.train, FLAGS.batch_size, FLAGS.seed, start, FLAGS.augment)

    return Trainer(
        train_step(model, paces),
        train_options(dataset),
        run,
        batches,
        lambda: evaluation_batches(dataset.valid, 200),
        learning_rate=schedule,
        hooks=[*hooks, Described(model, settings())],
    )


def write_result(run, dataset, model, result, more) -> None:
    """Evaluates on the test split and writes ``result.json``."""
    found = evaluate(compiled_forward(model), evaluation_batches(dataset.test, 200))
    GroupResult(
        steps=result.step,
        epochs=result.step / epoch_steps(dataset),
        stopped=result.stopped,
        rollbacks=result.rollbacks,
        valid_accuracy=result.valid_accuracy,
        test_accuracy=found.top1,
        test_top5=found.top5,
        test_cross_entropy=found.cross_entropy,
        **more,
    ).write(run.path)
    logging.info(
        "Stopped at step %d (%s): test accuracy %.2f%%. Written to %s.",
        result.step,
        result.stopped,
        100 * found.top1,
        run.path,
    )


def cli() -> None:
    """Entry point of ``splitnet-group``."""
    define_flags()
    run_program(main)


if __name__ == "__main__":
    cli()
