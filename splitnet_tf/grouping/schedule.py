"""Changes from step to step while the groups are learned: warm-up, start, growth of gamma1."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from splitnet_tf.grouping.plan import SplitPlan
from splitnet_tf.grouping.recipe import GroupingRecipe
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
    """The schedule of a grouped model's split losses: warm-up, start, growth; called at each step.

    Args:
      losses: the model's ``SplitLosses``.
      plan: the plan that it was grouped with.
      recipe: growth of gamma1 and start of the assignments are used.
      warmup: int, steps before the split losses set in.
      total: int, steps of the phase.
      seed: int, seed of the clustering.
      classes: returns given groups of the classes, (classes,), once the warm-up is over. Defaults
        to None: they are learned. With them, ``features`` are ``learned`` or ``even``, see
        ``start_from_given``.
    """

    def __init__(
        self,
        losses: SplitLosses,
        plan: SplitPlan,
        recipe: GroupingRecipe,
        warmup: int,
        total: int,
        seed: int = 0,
        classes: Callable[[], np.ndarray] | None = None,
        features: str = "learned",
    ):
        self._losses = losses
        self._plan = plan
        self._recipe = recipe
        self._warmup = warmup
        self._grown = warmup + round(recipe.growth_share * (total - warmup))
        self._seed = seed
        self._classes = classes
        self._features = features

    def __call__(self, step: int) -> None:
        if step == self._warmup:
            self.start()
        self._losses.strength.assign(self.strength(step))

    def strength(self, step: int) -> tuple[float, float, float]:
        """Factors on the split losses at a step, see ``strength_at``."""
        return strength_at(step, self._warmup, self._grown, self._recipe.gamma1_growth)

    def start(self) -> None:
        """Starts the assignments; random ones are left as they are."""
        if self._classes is not None:
            start_from_given(self._losses, self._plan, self._classes(), self._features)
        elif self._recipe.assignment_start == "clustering":
            largest_p, seed = self._recipe.start_p, self._seed
            start_from_clusters(self._losses, self._plan, largest_p=largest_p, seed=seed)
