"""Settings of a training run."""

from __future__ import annotations

import dataclasses

MAX_STEPS = 99_999_999  # eight digits in the name of a checkpoint
ON_NAN = ("stop", "rollback")


@dataclasses.dataclass(frozen=True)
class TrainOptions:
    """What the loop does and when.

    Attributes:
      max_steps: training ends here at the latest.
      momentum, nesterov: of SGD.
      l2_weight: of half the squared kernels, added to the loss (its exact gradient is used).
      label_smoothing: of the cross entropy.
      display: steps between two lines of progress.
      val_interval: steps between two evaluations on the validation split.
      checkpoint_interval: steps between two checkpoints.
      keep: checkpoints kept besides the best.
      bfloat16: layers compute in bfloat16 while they train; weights, split losses, cross entropy
        and L2 stay in float32.
      jit_compile: compile the step with XLA.
      on_nan: when a loss or a gradient is not finite: ``stop``, or ``rollback``: back to the newest
        checkpoint with half the learning rate, three times at most.
    """

    max_steps: int
    momentum: float = 0.9
    nesterov: bool = True
    l2_weight: float = 5e-4
    label_smoothing: float = 0.0
    display: int = 100
    val_interval: int = 500
    checkpoint_interval: int = 500
    keep: int = 2
    bfloat16: bool = False
    jit_compile: bool = False
    on_nan: str = "stop"

    def __post_init__(self):
        if self.on_nan not in ON_NAN:
            raise ValueError(f"on_nan must be one of {', '.join(ON_NAN)}; got {self.on_nan!r}.")
        for name in ("max_steps", "display", "val_interval", "checkpoint_interval", "keep"):
            value = getattr(self, name)
            if not isinstance(value, int) or not 1 <= value <= MAX_STEPS:
                raise ValueError(
                    f"{name} must be a whole number from 1 to {MAX_STEPS:,}; got {value!r}."
                )
        for name in ("momentum", "l2_weight", "label_smoothing"):
            if not 0 <= getattr(self, name) < 1:
                raise ValueError(f"{name} must be from 0 to below 1; got {getattr(self, name)}.")
