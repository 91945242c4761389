"""When to stop: validation that no longer improves."""

from __future__ import annotations

import numpy as np


class Patience:
    """Stops when a score has not risen for ``checks`` checks in a row (0: never)."""

    def __init__(self, checks: int):
        self._checks = checks
        self.state = {"best": -np.inf, "since": 0}

    def __call__(self, score: float) -> bool:
        if score > self.state["best"]:
            self.state = {"best": score, "since": 0}
        else:
            self.state = {"best": self.state["best"], "since": self.state["since"] + 1}
        return 0 < self._checks <= self.state["since"]
