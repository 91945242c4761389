"""Assignment of channels to groups of given sizes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy import sparse
from scipy.optimize import linear_sum_assignment, linprog

FEW = 3000  # channels up to which the square assignment problem is small


def assign_with_sizes(p: np.ndarray, sizes: Sequence[int]) -> np.ndarray:
    """Finds labels that maximize the sum of each channel's p in its group, at given group sizes.

    Args:
      p: float (G, size), preference of each channel for each group.
      sizes: members of each group; they add up to ``size``.

    Returns:
      Labels, int (size,). SciPy's linear sum assignment on G groups repeated ``sizes`` times; for
      more than ``FEW`` channels the same problem as a transport: sorted for two groups, by
      SciPy's linear program for more.
    """
    p = np.asarray(p, "float64")
    if p.shape[1] > FEW:
        return _transport(p, sizes)
    slots = np.repeat(np.arange(len(sizes)), sizes)
    channels, chosen = linear_sum_assignment(p.T[:, slots], maximize=True)
    labels = np.empty(len(slots), int)
    labels[channels] = slots[chosen]
    return labels


def _transport(p: np.ndarray, sizes: Sequence[int]) -> np.ndarray:
    """Labels by x (size, G) from 0 to 1: rows add up to 1, columns to the sizes."""
    groups, size = p.shape
    if groups == 2:  # those that gain most by the first group are in it
        labels = np.ones(size, int)
        labels[np.argsort(p[1] - p[0], kind="stable")[: sizes[0]]] = 0
        return labels
    each = sparse.kron(sparse.eye(size), np.ones((1, groups)))
    all_of = sparse.kron(np.ones((1, size)), sparse.eye(groups))
    found = linprog(
        -p.T.ravel(),
        A_eq=sparse.vstack([each, all_of], format="csr"),
        b_eq=np.concatenate([np.ones(size), sizes]),
        bounds=(0, 1),
        method="highs",
    )
    # A vertex of this polytope is whole numbers: each channel is in one group.
    return found.x.reshape(size, groups).argmax(axis=1)
