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
    step: float, warmup: float, grown: float, growth: float, disjoint: float = 0
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
      disjoint: step before which R_D is off. Defaults to 0: it sets in with the others.
    """
    if step < warmup:
        return 0.0, 0.0, 0.0
    return ramp(warmup, grown, 1.0, growth)(step), float(step >= disjoint), 1.0


def closed_at(step: float, warmup: float, grown: float) -> float:
    """Closing of the gates at a step: 0 until the warm-up ends, 1 from ``grown`` on.

    >>> closed_at(15, warmup=5, grown=25)
    0.5
    """
    return float(min(max(step - warmup, 0) / max(grown - warmup, 1), 1.0))


class ScheduleAction:
    """The schedule of a grouped model: warm-up, start, growth, gates; called at each step.

    Args:
      losses: the model's ``SplitLosses``.
      plan: the plan that it was grouped with.
      recipe: growth of gamma1, delay of R_D and start of the assignments are used.
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
        self._disjoint = warmup + round(recipe.gamma2_delay * (total - warmup))
        self._seed = seed
        self._classes = classes
        self._features = features

    def __call__(self, step: int) -> None:
        if step == self._warmup:
            self.start()
        self.set(step)

    def at(self, step: int) -> tuple[tuple[float, float, float], float]:
        """Strength of the split losses at a step, and how far the gates are closed."""
        growth = self._recipe.gamma1_growth
        strength = strength_at(step, self._warmup, self._grown, growth, self._disjoint)
        closed = closed_at(step, self._warmup, self._grown) if self._losses.gates else 0.0
        return strength, closed

    def set(self, step: int) -> None:
        """Sets the strength of the split losses, and the gates, to those of a step."""
        strength, closed = self.at(step)
        self._losses.strength.assign(strength)
        if self._losses.gates:
            self._losses.closed.assign(closed)

    def start(self) -> None:
        """Starts the assignments; random ones are left as they are."""
        if self._classes is not None:
            start_from_given(self._losses, self._plan, self._classes(), self._features)
        elif self._recipe.assignment_start != "random":
            start_from_clusters(
                self._losses,
                self._plan,
                largest_p=self._recipe.start_p,
                seed=self._seed,
                exchange=self._recipe.assignment_start == "exchange",
            )
