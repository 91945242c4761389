"""The hook of a grouping: what SplitNet does at each step and evaluation while it trains."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence

import keras
import numpy as np

from splitnet_tf.grouping import SplitPlan, split_losses
from splitnet_tf.grouping.convergence import GroupingConverged
from splitnet_tf.grouping.recipe import GroupingRecipe
from splitnet_tf.grouping.schedule import ScheduleAction
from splitnet_tf.grouping.split_losses import TERMS
from splitnet_tf.grouping.start import class_assignment
from splitnet_tf.grouping.watch import GroupingWatch, grouping_status, moved
from splitnet_tf.stages.grouping_pictures import GroupingPictures
from splitnet_tf.training.hooks import Hook

PICTURES_EVERY = 5  # evaluations


class GroupingHook(Hook):
    """Warm-up, start and growth of the split losses; their log, pictures, warnings and end.

    Args:
      grouped: the grouped model.
      plan: the plan that it was grouped with.
      recipe: how the groups are learned.
      warmup: int, steps before the split losses set in.
      total: int, steps of the phase.
      val_interval: int, steps between evaluations.
      class_names: one a class.
      classes: returns given groups of the classes at the end of the warm-up; None: learned.
      features: see ``start_from_given``.
      seed: int, seed of the clusters.
      picture_interval: int, steps between pictures; 0 for every fifth evaluation.
    """

    loss_names = TERMS
    loss_group = "split_losses"
    lower = "the gammas"

    def __init__(
        self,
        grouped: keras.Model,
        plan: SplitPlan,
        recipe: GroupingRecipe,
        warmup: int,
        total: int,
        *,
        val_interval: int,
        class_names: Sequence[str],
        classes: Callable[[], np.ndarray] | None = None,
        features: str = "learned",
        seed: int = 0,
        picture_interval: int = 0,
    ):
        losses = split_losses(grouped)
        self._schedule = ScheduleAction(
            losses, plan, recipe, warmup, total, seed, classes, features
        )
        self._watch = GroupingWatch(losses, total)
        self._pictures = GroupingPictures(losses, plan, class_names)
        self._converged = GroupingConverged(
            self._watch.memberships,
            self._watch.off_block_energy,
            recipe.converged_p,
            recipe.converged_hold,
            recipe.converged_off_block,
            not_before=warmup + 1,
        )
        self._warmup, self._val_interval = warmup, val_interval
        self._class_space = class_assignment(losses, plan).space
        self._start: dict[str, list[int]] | None = None
        self._picture_interval = picture_interval

    @property
    def state(self) -> dict:
        start = {} if self._start is None else {"start": self._start}
        return {**self._converged.state, **start}

    @state.setter
    def state(self, value: dict) -> None:
        self._start = value.get("start")
        self._converged.state = {k: v for k, v in value.items() if k != "start"}

    def before_step(self, step: int) -> None:
        self._schedule(step)
        if step == self._warmup:
            self._start = {name: own.tolist() for name, own in self._watch.labels().items()}

    def moved(self) -> dict[str, float]:
        """Shares of the classes and features that left the group of their start; see ``moved``.

        Empty for a run that an earlier version began.
        """
        if self._start is None:
            return {}
        return moved(self._start, self._watch.labels(), self._class_space)

    def scalars(self) -> dict[str, float]:
        return self._watch.scalars()

    def status(self, values: Mapping[str, float]) -> str:
        return grouping_status(values)

    def summarize(self, step: int, writer) -> None:
        if pictures_due(step, self._picture_interval, self._val_interval):
            self._pictures.write(step, writer)
        if step > self._warmup:
            for sentence in self._watch.warnings(step):
                logging.warning("step %d: %s", step, sentence)

    def stop(self, step: int) -> str:
        if not self._converged(step):
            return ""
        logging.info("step %d: the groupings have converged", step)
        return "converged"


def pictures_due(step: int, interval: int, val_interval: int) -> bool:
    """True where pictures are drawn at an evaluation: the first from each multiple of the interval.

    Args:
      step: of the evaluation.
      interval: int, steps between pictures; 0 for every fifth evaluation.
      val_interval: int, steps between evaluations.
    """
    interval = interval or PICTURES_EVERY * val_interval
    before = (step - 1) // val_interval * val_interval  # the evaluation before this one
    return step // interval > before // interval
