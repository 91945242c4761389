"""One phase of training: how long, and how."""

from __future__ import annotations

import dataclasses
import math
import numbers

from splitnet_tf.errors import ArgumentError

SCHEDULES = ("cosine", "step")
OPTIMIZERS = ("sgd", "adamw")


@dataclasses.dataclass(frozen=True)
class Phase:
    """Settings of a training for a number of epochs.

    Attributes:
      epochs: float, length of the phase; need not be whole.
      rate: float, learning rate at the start.
      final_rate: float, learning rate at the end of the cosine, at most ``rate``.
      schedule: ``"cosine"`` (half a cosine from ``rate`` to ``final_rate``) or ``"step"``.
      drops: epochs at which the rate of ``"step"`` is multiplied by ``decay``.
      decay: float, see ``drops``.
      rate_warmup_epochs: float, epochs over which the rate first rises linearly to ``rate``.
      optimizer: ``"sgd"`` or ``"adamw"``.
      momentum: float, momentum of SGD, from 0 to below 1.
      nesterov: bool, Nesterov's form of the momentum.
      l2: float, weight of half the sum of the squared kernels, added to the loss.
      label_smoothing: float, share of the target spread evenly over all classes.
      ema: float, momentum of the averaged weights that the phase ends with; 0 for none. At the
        start it is lower, see ``average_from`` of ``recipe.SGD``.
      mixup, cutmix: float, a of the Beta(a, a) by which training examples are mixed in pairs; 0 for
        none.

    Raises:
      ArgumentError: a value out of its range.
    """

    epochs: float = 16.0
    rate: float = 0.1
    final_rate: float = 0.0
    schedule: str = "cosine"
    drops: tuple[float, ...] = (80.0, 120.0, 160.0)
    decay: float = 0.1
    rate_warmup_epochs: float = 0.0
    optimizer: str = "sgd"
    momentum: float = 0.9
    nesterov: bool = True
    l2: float = 5e-4
    label_smoothing: float = 0.0
    ema: float = 0.0
    mixup: float = 0.0
    cutmix: float = 0.0

    def __post_init__(self):
        for name, known in (("schedule", SCHEDULES), ("optimizer", OPTIMIZERS)):
            if getattr(self, name) not in known:
                raise ArgumentError(
                    f"`{name}` must be one of {', '.join(known)}; got {getattr(self, name)!r}."
                )
        for name in (
            "epochs",
            "rate",
            "final_rate",
            "decay",
            "rate_warmup_epochs",
            "mixup",
            "cutmix",
        ):
            value = getattr(self, name)
            if not isinstance(value, numbers.Real) or not 0 <= value < math.inf:
                raise ArgumentError(f"`{name}` must be a number of 0 or more; got {value!r}.")
        for name in ("momentum", "l2", "label_smoothing", "ema"):
            value = getattr(self, name)
            if not isinstance(value, numbers.Real) or not 0 <= value < 1:
                raise ArgumentError(f"`{name}` must be a number from 0 to below 1; got {value!r}.")
        if self.schedule == "cosine" and self.final_rate > self.rate:
            raise ArgumentError(
                f"`final_rate={self.final_rate:g}` is above `rate={self.rate:g}`; the rate falls."
            )
