"""What changes step by step while the groups are learned: warm-up, start, growth of gamma1."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from splitnet_tf.grouping.plan import SplitPlan
from splitnet_tf.grouping.split_losses import SplitLosses
from splitnet_tf.grouping.start import start_from_clusters, start_from_given
from splitnet_tf.recipe.schedules import Schedule


class GroupingSchedule:
    """An action for the trainer: warm-up without split losses, the start, then their growth.

    Args:
      losses: the model's ``SplitLosses``.
      plan: the plan that it was grouped with.
      warmup: steps without split losses.
      gamma1_growth: factor on gamma1 at each step.
      start: how assignments start after the warm-up: ``clustering``, or ``random`` to leave them.
      seed: of the clustering.
      classes: returns given groups of the classes, (classes,), once the warm-up is over; None: they
        are learned. With them, ``features`` are ``learned`` or ``even``, see ``start_from_given``.
    """

    def __init__(
        self,
        losses: SplitLosses,
        plan: SplitPlan,
        warmup: int,
        gamma1_growth: Schedule,
        start: str,
        seed: int,
        classes: Callable[[], np.ndarray] | None = None,
        features: str = "learned",
    ):
        self._losses = losses
        self._plan = plan
        self._warmup = warmup
        self._growth = gamma1_growth
        self._start = start
        self._seed = seed
        self._classes = classes
        self._features = features

    def __call__(self, step: int) -> None:
        if step == self._warmup and self._classes is not None:
            start_from_given(self._losses, self._plan, self._classes(), self._features)
        elif step == self._warmup and self._start == "clustering":
            start_from_clusters(self._losses, self._plan, seed=self._seed)
        strength = [0.0, 0.0, 0.0]
        if step >= self._warmup:
            strength = [self._growth(step), 1.0, 1.0]
        self._losses.strength.assign(strength)
