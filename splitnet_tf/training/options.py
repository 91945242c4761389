"""Settings of the loop."""

from __future__ import annotations

import dataclasses

from splitnet_tf.errors import ArgumentError

MAX_STEPS = 99_999_999  # eight digits in the name of a checkpoint
ON_NAN = ("stop", "rollback")


@dataclasses.dataclass(frozen=True)
class TrainOptions:
    """Length of training, and the intervals of what happens besides.

    Attributes:
      max_steps: int, training ends here at the latest.
      steps_per_epoch: int, for the epoch in the log.
      display: int, steps between two lines of progress.
      val_interval: int, steps between two evaluations on the validation split.
      checkpoint_interval: int, steps between two checkpoints.
      keep: int, checkpoints kept besides the best.
      on_nan: when a loss or a gradient is not finite: ``"stop"``, or ``"rollback"``: back to the
        newest checkpoint with half the learning rate, three times at most.
      patience: int, evaluations without a better validation accuracy after which training stops;
        0 for never.

    Raises:
      ArgumentError: a value out of its range.
    """

    max_steps: int
    steps_per_epoch: int = 1
    display: int = 100
    val_interval: int = 500
    checkpoint_interval: int = 500
    keep: int = 2
    on_nan: str = "stop"
    patience: int = 0

    def __post_init__(self):
        if self.on_nan not in ON_NAN:
            raise ArgumentError(
                f"`on_nan` must be one of {', '.join(ON_NAN)}; got {self.on_nan!r}."
            )
        for field in dataclasses.fields(self):
            least = 0 if field.name == "patience" else 1
            value = getattr(self, field.name)
            if field.name == "on_nan":
                continue
            if type(value) is not int or not least <= value <= MAX_STEPS:
                raise ArgumentError(
                    f"`{field.name}` must be a whole number from {least} to {MAX_STEPS:,}; got "
                    f"{value!r}."
                )
