"""Convergence of groupings: the end of learning them."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np


class GroupingConverged:
    """Test of the ``until`` of the paper's Algorithm 1, made definite.

    Converged: in every space the mean over channels of the largest p is at least ``decided``,
    no channel has changed its group over ``hold`` checks in a row, and the cut would take at
    most ``off_block`` of the energy (squared weights) of the split kernels.

    Args:
      read: () -> memberships p (G, size) of every space.
      energy: () -> share of energy outside the blocks, on average over kernels.
      decided: float, see above. Defaults to 0.99.
      hold: int, see above. Defaults to 3.
      off_block: float, see above. Defaults to 0.005.
      not_before: int, step before which training never stops. Defaults to 0.
    """

    def __init__(
        self,
        read: Callable[[], list[np.ndarray]],
        energy: Callable[[], float],
        decided: float = 0.99,
        hold: int = 3,
        off_block: float = 0.005,
        not_before: int = 0,
    ):
        self._read = read
        self._energy = energy
        self._off_block = off_block
        self._decided = decided
        self._hold = hold
        self._not_before = not_before
        self.state = {"labels": None, "same": 0}

    def __call__(self, step: int) -> bool:
        """Checks once; True when converged."""
        spaces = self._read()
        labels = [np.argmax(p, axis=0).tolist() for p in spaces]
        same = self.state["same"] + 1 if labels == self.state["labels"] else 0
        self.state = {"labels": labels, "same": same}
        decided = all(p.max(axis=0).mean() >= self._decided for p in spaces)
        settled = decided and same >= self._hold and step >= self._not_before
        return settled and self._energy() <= self._off_block
