"""State that a run repeats or goes on from, besides its variables."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

SUMS = ("cross_entropy", "model_losses", "accuracy")


@dataclasses.dataclass
class TrainState:
    """State of a training, as a checkpoint holds it.

    Attributes:
      step: steps done.
      displayed: step of the last line of progress.
      best, best_step: the best validation accuracy and when; -1 before the first.
      valid: validation accuracy of the last evaluation.
      stopped: reason of the end; empty while it goes on.
      rollbacks: how often training went back with half the learning rate.
      sums: scalars summed since the last line of progress.
    """

    step: int = 0
    displayed: int = 0
    best: float = -1.0
    best_step: int = 0
    valid: float = 0.0
    stopped: str = ""
    rollbacks: int = 0
    sums: dict[str, float] = dataclasses.field(default_factory=lambda: dict.fromkeys(SUMS, 0.0))

    @classmethod
    def of(cls, document: Mapping[str, Any]) -> TrainState:
        """The state in a checkpoint's document, which holds more."""
        names = [f.name for f in dataclasses.fields(cls)]
        return cls(**{name: document[name] for name in names if name in document})

    def take_means(self) -> dict[str, float]:
        """Means since the last line of progress; the sums begin anew."""
        count = max(1, self.step - self.displayed)
        means = {name: total / count for name, total in self.sums.items()}
        self.displayed, self.sums = self.step, dict.fromkeys(SUMS, 0.0)
        return means
