"""Recipe by which the groups are learned."""

from __future__ import annotations

import dataclasses
import numbers

from splitnet_tf.errors import ArgumentError
from splitnet_tf.recipe.phase import Phase

STARTS = ("clustering", "exchange", "random")


@dataclasses.dataclass(frozen=True)
class GroupingRecipe(Phase):
    """A phase in which the split losses act on a grouped model.

    Attributes:
      epochs: float, length of the phase, the warm-up included.
      warmup_epochs: float, epochs before the split losses set in.
      pace: float, learning rate of the assignments relative to that of the weights.
      gamma1_growth: float of 1 or more, factor by which gamma1 has grown after ``growth_share``
        of the epochs that follow the warm-up.
      growth_share: float from 0 to 1, see ``gamma1_growth``. The gates of a model grouped with
        ``gates=True`` close over the same time.
      gamma2_delay: float from 0 to 1, share of the epochs that follow the warm-up before R_D sets
        in.
      assignment_start: start of the assignments after the warm-up: ``"clustering"`` of the weights;
        ``"exchange"``, clusters whose classes and features are then exchanged so that R_W falls;
        or ``"random"``, near the uniform assignment, as in the paper.
      start_p: float, membership of a channel in its group at the start, above 1 / groups.
      converged_p, converged_hold, converged_off_block: end of learning, when all three hold: least
        mean largest p of every space, evaluations without a channel that changes its group, and
        largest share of the split kernels' energy off the blocks.

    Raises:
      ArgumentError: a value out of its range.
    """

    epochs: float = 8.0
    final_rate: float = 0.02
    warmup_epochs: float = 5.0
    pace: float = 8.0
    gamma1_growth: float = 20.0
    growth_share: float = 0.6
    gamma2_delay: float = 0.0
    assignment_start: str = "clustering"
    start_p: float = 0.9
    converged_p: float = 0.99
    converged_hold: int = 3
    converged_off_block: float = 0.002

    def __post_init__(self):
        super().__post_init__()
        if self.assignment_start not in STARTS:
            raise ArgumentError(
                f"`assignment_start` must be one of {', '.join(STARTS)}; got "
                f"{self.assignment_start!r}."
            )
        for name in ("growth_share", "gamma2_delay", "converged_p", "converged_off_block"):
            value = getattr(self, name)
            if not isinstance(value, numbers.Real) or not 0 <= value <= 1:
                raise ArgumentError(f"`{name}` must be a number from 0 to 1; got {value!r}.")
        for name, least in (("gamma1_growth", 1), ("pace", 0), ("warmup_epochs", 0)):
            value = getattr(self, name)
            if not isinstance(value, numbers.Real) or not value >= least:
                raise ArgumentError(f"`{name}` must be a number of {least} or more; got {value!r}.")
