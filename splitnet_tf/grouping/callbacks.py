"""Callbacks with which Keras' ``fit`` learns groups, on any backend."""

from __future__ import annotations

import logging
from collections.abc import Sequence

import keras

from splitnet_tf.errors import ArgumentError
from splitnet_tf.grouping.gates import fold_gates
from splitnet_tf.grouping.group_model import plan_of, split_losses
from splitnet_tf.grouping.recipe import STARTS, GroupingRecipe
from splitnet_tf.grouping.schedule import ScheduleAction
from splitnet_tf.grouping.start import class_assignment
from splitnet_tf.grouping.watch import GroupingWatch


class GroupingSchedule(keras.callbacks.Callback):
    """Warms a grouped model up, starts its assignments and lets gamma1 grow, step by step.

    ``sn.learn_groups`` does the same without ``fit``. Epochs are those of ``fit``, whose data must
    have a known number of steps. Training that goes on with ``initial_epoch`` goes on where it was.

    Args:
      warmup_epochs: float, epochs before the split losses set in. Defaults to 5.
      growth: float of 1 or more, factor by which gamma1 has grown after ``growth_share`` of the
        epochs that follow the warm-up. Defaults to 20.
      growth_share: float from 0 to 1; gates close over the same time. Defaults to 0.6.
      start: how the assignments start after the warm-up: ``"clustering"`` of the weights,
        ``"exchange"``, see ``GroupingRecipe``, or ``"random"`` to leave them as they are. Defaults
        to ``"clustering"``.
      start_p: float, membership of a channel in its group at the start, above 1 / groups. Defaults
        to 0.9.
      seed: int, seed of the clustering. Defaults to 0.
      gamma2_delay: float from 0 to 1, share of the epochs after the warm-up before R_D sets in.
        Defaults to 0.
      grouped: the grouped model, where the fitted model is another one that contains it.

    Raises:
      ArgumentError: an argument out of its range; in ``fit``, no step left after the warm-up, or
        data of unknown length.
    """

    def __init__(
        self,
        warmup_epochs: float = GroupingRecipe.warmup_epochs,
        growth: float = GroupingRecipe.gamma1_growth,
        growth_share: float = GroupingRecipe.growth_share,
        start: str = GroupingRecipe.assignment_start,
        start_p: float = GroupingRecipe.start_p,
        seed: int = 0,
        grouped: keras.Model | None = None,
        gamma2_delay: float = GroupingRecipe.gamma2_delay,
    ):
        super().__init__()
        if start not in STARTS:
            raise ArgumentError(f"`start` must be one of {', '.join(STARTS)}; got {start!r}.")
        if not growth >= 1:
            raise ArgumentError(f"`growth` must be 1 or more; got {growth!r}.")
        self.recipe = GroupingRecipe(
            warmup_epochs=warmup_epochs,
            gamma1_growth=growth,
            growth_share=growth_share,
            gamma2_delay=gamma2_delay,
            assignment_start=start,
            start_p=start_p,
        )
        self.seed = seed
        self.grouped = grouped

    def on_train_begin(self, logs=None):
        steps, epochs = self.params["steps"], self.params["epochs"]
        if not steps:
            raise ArgumentError(
                "GroupingSchedule must know the steps of an epoch; give `fit` data of a known "
                "length, or its `steps_per_epoch`."
            )
        total, warmup = steps * epochs, round(self.recipe.warmup_epochs * steps)
        if warmup >= total:
            raise ArgumentError(
                f"`warmup_epochs={self.recipe.warmup_epochs:g}` leaves no step of {total} to group "
                "in; lower it or raise the `epochs` of `fit`."
            )
        grouped = self.grouped or self.model
        self._warmup, self._losses = warmup, split_losses(grouped)
        self._schedule = ScheduleAction(
            self._losses, plan_of(grouped), self.recipe, warmup, total, self.seed
        )
        self._step = None

    def on_epoch_begin(self, epoch, logs=None):
        self._first = epoch * self.params["steps"]

    def on_train_batch_begin(self, batch, logs=None):
        step = self._first + batch
        last = step - 1 if self._step is None else self._step
        starts = last < self._warmup <= step  # `steps_per_execution` may jump over the step itself
        same = self._step is not None and self._schedule.at(step) == self._schedule.at(last)
        self._step = step
        if same and not starts:
            return
        if keras.backend.backend() == "jax":
            self.model.jax_state_sync()  # fit keeps the variables' values to itself
        if starts:
            self._schedule.start()
        self._schedule.set(step)

    def on_train_end(self, logs=None):
        fold_gates(self._losses)


class GroupingMonitor(keras.callbacks.Callback):
    """Adds the state of the groups to ``logs`` after each epoch, and warns of what goes wrong.

    Later callbacks, the history and the progress bar find in ``logs``: the split losses without
    their weights, ``split/off_block_energy`` (the mean share of the split kernels' energy that a
    cut would take away), ``split/decided`` (the share of channels with a p above 0.9) and
    ``group_size/<space>/<group>``. Warnings tell of groups that empty and of assignments that stay
    undecided, with a remedy.

    Args:
      class_names: names of the classes in the order of the logits; with them, the groups of the
        classes are logged at the end of training.
      grouped: the grouped model, where the fitted model is another one that contains it.
    """

    def __init__(
        self, class_names: Sequence[str] | None = None, grouped: keras.Model | None = None
    ):
        super().__init__()
        self.class_names = class_names
        self.grouped = grouped

    def on_train_begin(self, logs=None):
        self._losses = split_losses(self.grouped or self.model)
        self._watch = GroupingWatch(self._losses, self.params["epochs"])

    def on_epoch_end(self, epoch, logs=None):
        values = self._watch.scalars()
        logs.update({k: v for k, v in values.items() if k.startswith(("split/", "group_size/"))})
        if keras.ops.convert_to_numpy(self._losses.strength).any():  # the warm-up is over
            for sentence in self._watch.warnings(epoch + 1):
                logging.warning("epoch %d: %s", epoch + 1, sentence)

    def on_train_end(self, logs=None):
        if self.class_names is None:
            return
        plan = plan_of(self.grouped or self.model)
        p = keras.ops.convert_to_numpy(class_assignment(self._losses, plan).p())
        labels = p.argmax(axis=0)
        for group in range(len(p)):
            names = [n for n, g in zip(self.class_names, labels, strict=True) if g == group]
            logging.info("group %d (%d classes): %s", group, len(names), ", ".join(names))
