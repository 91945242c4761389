"""Assignment of channels to groups of given sizes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.optimize import linear_sum_assignment


def assign_with_sizes(p: np.ndarray, sizes: Sequence[int]) -> np.ndarray:
    """Finds labels that maximize the sum of each channel's p in its group, at given group sizes.

    Args:
      p: float (G, size), preference of each channel for each group.
      sizes: members of each group; they add up to ``size``.

    Returns:
      Labels, int (size,). SciPy's linear sum assignment on G groups repeated ``sizes`` times.
    """
    slots = np.repeat(np.arange(len(sizes)), sizes)
    channels, chosen = linear_sum_assignment(np.asarray(p, "float64").T[:, slots], maximize=True)
    labels = np.empty(len(slots), int)
    labels[channels] = slots[chosen]
    return labels
