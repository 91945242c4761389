"""Confusions: classes that a classifier mistakes for others."""

from __future__ import annotations

import numpy as np


def most_frequent(confusion: np.ndarray, most: int = 12) -> list[tuple[int, int, int]]:
    """Lists (true class, answer, times) of the most frequent confusions, most frequent first.

    Args:
      confusion: int (classes, classes), counts by true class and answer.
      most: int, longest list. Defaults to 12.
    """
    wrong = confusion * ~np.eye(len(confusion), dtype=bool)
    order = np.argsort(-wrong, axis=None, kind="stable")[:most]
    pairs = zip(*np.unravel_index(order, wrong.shape), strict=True)
    return [(int(i), int(j), int(wrong[i, j])) for i, j in pairs if wrong[i, j] > 0]
