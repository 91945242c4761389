"""Changes from step to step while the groups are learned: warm-up, start, growth of gamma1."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from splitnet_tf.grouping.plan import SplitPlan
from splitnet_tf.grouping.split_losses import SplitLosses
from splitnet_tf.grouping.start import start_from_clusters, start_from_given
from splitnet_tf.recipe.schedules import ramp


def strength_at(
    step: float, warmup: float, grown: float, growth: float
) -> tuple[float, float, float]:
    """Factors on gamma1 R_W, gamma2 R_D and gamma3 R_E at a step, for ``SplitLosses.strength``.

    >>> strength_at(4, warmup=5, grown=25, growth=16.0)
    (0.0, 0.0, 0.0)
    >>> strength_at(15, warmup=5, grown=25, growth=16.0)
    (4.0, 1.0, 1.0)

    Args:
      step: number of steps done, in any unit of time; 0 or more.
      warmup: step before which the split losses are off.
      grown: step from which gamma1 has grown by ``growth``, in equal ratios since ``warmup``.
      growth: float, factor on gamma1 at the end.
    """
    if step < warmup:
        return 0.0, 0.0, 0.0
    return ramp(warmup, grown, 1.0, growth)(step), 1.0, 1.0


class ScheduleAction:
    """An action for the trainer: warm-up without split losses, the start, then their growth.

    Args:
      losses: the model's ``SplitLosses``.
      plan: the plan that it was grouped with.
      warmup, grown, growth: steps and factor, see ``strength_at``.
      start: how assignments start after the warm-up: ``clustering``, or ``random`` to leave them.
      seed: int, seed of the clustering.
      classes: returns given groups of the classes, (classes,), once the warm-up is over; None: they
        are learned. With them, ``features`` are ``learned`` or ``even``, see ``start_from_given``.
    """

    def __init__(
        self,
        losses: SplitLosses,
        plan: SplitPlan,
        warmup: int,
        grown: int,
        growth: float,
        start: str,
        seed: int,
        classes: Callable[[], np.ndarray] | None = None,
        features: str = "learned",
    ):
        self._losses = losses
        self._plan = plan
        self._warmup = warmup
        self._grown = grown
        self._growth = growth
        self._start = start
        self._seed = seed
        self._classes = classes
        self._features = features

    def __call__(self, step: int) -> None:
        if step == self._warmup and self._classes is not None:
            start_from_given(self._losses, self._plan, self._classes(), self._features)
        elif step == self._warmup and self._start == "clustering":
            start_from_clusters(self._losses, self._plan, seed=self._seed)
        self._losses.strength.assign(strength_at(step, self._warmup, self._grown, self._growth))
