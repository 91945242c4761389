"""Recipe of sparse training: a phase with a plan, and how the strength changes in it."""

from __future__ import annotations

import dataclasses
import numbers

from splitnet_tf.errors import ArgumentError
from splitnet_tf.recipe.phase import Phase
from splitnet_tf.sparsity.plan import SparsityPlan

TARGETS = ("target_flops", "target_params", "target_bytes")


@dataclasses.dataclass(frozen=True)
class SparsityRecipe(SparsityPlan, Phase):
    """A phase in which the penalty of a plan acts; it is the plan as well.

    Attributes:
      epochs: float, length of the phase, warm-up and ramp included.
      warmup_epochs: float, epochs before the penalty sets in. Defaults to 0.
      ramp_epochs: float, epochs over which the strength then grows linearly to what the plan says.
        Defaults to 0.
      target_flops: float in (0, 1], share of the multiply-adds that the shrunk model may have; the
        strength is raised after the ramp until it has no more. Defaults to None: it is not raised.
      target_params: float in (0, 1], the same for weights of kernels. Defaults to None.
      target_bytes: float in (0, 1], the same for the bytes that cross between the devices of
        ``blocks``. Defaults to None.
      growth: float above 1, factor on the strength at each evaluation that misses a target.
        Defaults to 1.3.

    Raises:
      ArgumentError: a value out of its range, averaged weights (``ema``), or a strength that
        changes with ``update="subgradient"``.

    >>> SparsityRecipe(spaces=0.04, epochs=8, rate=0.05, l2=0.0).structures
    ('spaces',)
    """

    epochs: float = 8.0
    warmup_epochs: float = 0.0
    ramp_epochs: float = 0.0
    target_flops: float | None = None
    target_params: float | None = None
    target_bytes: float | None = None
    growth: float = 1.3

    def __post_init__(self):
        Phase.__post_init__(self)
        SparsityPlan.__post_init__(self)
        for name in ("warmup_epochs", "ramp_epochs"):
            value = getattr(self, name)
            if not isinstance(value, numbers.Real) or not value >= 0:
                raise ArgumentError(f"`{name}` must be a number of 0 or more; got {value!r}.")
        for name in TARGETS:
            value = getattr(self, name)
            if value is None:
                continue
            if not isinstance(value, numbers.Real) or not 0 < value <= 1:
                raise ArgumentError(
                    f"`{name}` must be a number above 0 and at most 1; got {value!r}."
                )
        if self.target_bytes is not None and self.num_devices is None:
            raise ArgumentError("`target_bytes` needs `blocks` and `num_devices`.")
        if self.ema:
            raise ArgumentError("`ema` must be 0: averaged weights have no exact zeros.")
        if not isinstance(self.growth, numbers.Real) or not self.growth > 1:
            raise ArgumentError(f"`growth` must be a number above 1; got {self.growth!r}.")
        changes = self.warmup_epochs or self.ramp_epochs or self.targets
        if changes and self.update == "subgradient":
            raise ArgumentError(
                "With `update=subgradient` the strength stays as it is: leave out "
                "`warmup_epochs`, `ramp_epochs` and targets, or take `update=proximal`."
            )

    @property
    def targets(self) -> dict[str, float]:
        """The targets that were set, by name."""
        return {n: getattr(self, n) for n in TARGETS if getattr(self, n) is not None}


def strength_at(step: float, warmup: float, ramp: float) -> float:
    """Factor on the strengths at a step, for ``ProximalStep.strength``.

    Args:
      step: number of steps done, in any unit of time; 0 or more.
      warmup: step before which there is no penalty.
      ramp: steps over which it then grows linearly to 1.

    >>> [strength_at(step, warmup=2, ramp=4) for step in (1, 2, 4, 6, 9)]
    [0.0, 0.0, 0.5, 1.0, 1.0]
    """
    if step < warmup:
        return 0.0
    return min(1.0, (step - warmup) / ramp) if ramp else 1.0
