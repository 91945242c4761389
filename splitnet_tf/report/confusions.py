"""Whether a classifier confuses classes of one group, or classes of different groups."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np

MOST_CELLS = 250


@dataclasses.dataclass(frozen=True)
class Shares:
    """Confusions within groups.

    Attributes:
      num_groups: of the classes.
      errors: wrong answers in all.
      within: the share of them that name another class of the right group.
      chance: that share, were each wrong answer any of the other classes alike.
    """

    num_groups: int
    errors: int
    within: float
    chance: float


def read_confusion(value: Any) -> np.ndarray | None:
    """A confusion matrix (classes, classes), rows the true class; None when it is none."""
    try:
        matrix = np.array(value, float)
    except (TypeError, ValueError, OverflowError):
        return None
    square = matrix.ndim == 2 and matrix.shape[0] == matrix.shape[1] > 1
    if not square or not np.isfinite(matrix).all() or (matrix < 0).any():
        return None
    return matrix


def confusion_shares(confusion: np.ndarray, labels: np.ndarray) -> Shares | None:
    """Counts confusions within groups; None when there is no error.

    Args:
      confusion: (classes, classes), rows the true class.
      labels: (classes,) group of each class.
    """
    wrong = confusion * ~np.eye(len(confusion), dtype=bool)
    errors = wrong.sum()
    if not errors:
        return None
    within = wrong[labels[:, None] == labels[None, :]].sum()
    others = np.bincount(labels)[labels] - 1  # classes of the same group
    chance = (wrong.sum(axis=1) * others).sum() / (len(labels) - 1)
    groups = int(labels.max()) + 1
    return Shares(groups, int(errors), float(within / errors), float(chance / errors))


def most_frequent(confusion: np.ndarray, most: int = 12) -> list[tuple[int, int, int]]:
    """(true class, answer, times) of the most frequent confusions, the most frequent first."""
    wrong = confusion * ~np.eye(len(confusion), dtype=bool)
    order = np.argsort(-wrong, axis=None, kind="stable")[:most]
    pairs = zip(*np.unravel_index(order, wrong.shape), strict=True)
    return [(int(i), int(j), int(wrong[i, j])) for i, j in pairs if wrong[i, j] > 0]


def class_order(labels: np.ndarray, superclasses: np.ndarray | None) -> np.ndarray:
    """The classes by group, within a group by superclass."""
    keys: Sequence[np.ndarray] = (labels,) if superclasses is None else (superclasses, labels)
    return np.lexsort(keys)


def coarse_picture(confusion: np.ndarray, order: np.ndarray) -> np.ndarray:
    """Shares of the answers, (cells, cells): classes in order, neighbours summed to few cells."""
    sorted_ = confusion[order][:, order]
    cells = min(len(order), MOST_CELLS)
    starts = np.arange(cells) * len(order) // cells
    summed = np.add.reduceat(np.add.reduceat(sorted_, starts, axis=0), starts, axis=1)
    return summed / np.maximum(summed.sum(axis=1, keepdims=True), 1)
