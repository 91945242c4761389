"""Confusions of classes of one group, and of classes of different groups."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np

from splitnet_tf.analysis.confusions import most_frequent
from splitnet_tf.report.before_after import evaluations
from splitnet_tf.report.classes import Superclasses, labels_by_level
from splitnet_tf.report.drawings import draw_confusion
from splitnet_tf.report.pictures import Picture, picture
from splitnet_tf.report.runs import Run
from splitnet_tf.runs.names import EVALUATION, GROUPING

MOST_CELLS = 250


@dataclasses.dataclass(frozen=True)
class Shares:
    """Share of the confusions that stay within groups.

    Attributes:
      num_groups: int, groups of the classes.
      errors: int, wrong answers in all.
      within: float, share of the wrong answers that name another class of the right group.
      chance: float, the same share if a wrong answer were any other class with equal chance.
    """

    num_groups: int
    errors: int
    within: float
    chance: float


@dataclasses.dataclass(frozen=True)
class Confused:
    """Confusions of the run's newest model.

    Attributes:
      shares: shares at each level of the tree.
      frequent: (true class, answer, times, True for classes of one group), the most frequent first.
      picture: confusions sorted by group, or None.
      problem: sentence that says why there is nothing, or "".
    """

    shares: tuple[Shares, ...] = ()
    frequent: tuple[tuple[str, str, int, bool], ...] = ()
    picture: Picture | None = None
    problem: str = ""


def read_confusion(value: Any) -> np.ndarray | None:
    """Reads a confusion matrix (classes, classes), rows the true class; None for anything else."""
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
      confusion: counts (classes, classes), rows the true class.
      labels: int (classes,), group of each class.
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


def class_order(labels: np.ndarray, superclasses: np.ndarray | None) -> np.ndarray:
    """Sorts the classes by group, within a group by superclass."""
    keys: Sequence[np.ndarray] = (labels,) if superclasses is None else (superclasses, labels)
    return np.lexsort(keys)


def coarse_picture(confusion: np.ndarray, order: np.ndarray) -> np.ndarray:
    """Returns shares of the answers (cells, cells): classes in order, neighbours summed."""
    sorted_ = confusion[order][:, order]
    cells = min(len(order), MOST_CELLS)
    starts = np.arange(cells) * len(order) // cells
    summed = np.add.reduceat(np.add.reduceat(sorted_, starts, axis=0), starts, axis=1)
    return summed / np.maximum(summed.sum(axis=1, keepdims=True), 1)


def confusions_of(run: Run, superclasses: Superclasses | None) -> Confused:
    """Reads, counts and draws the confusions in a run's evaluation."""
    grouping = run.grouping
    if grouping is None:
        return Confused(problem=run.problem(GROUPING))
    before, after = evaluations(run)
    found = []
    for title, entry in (("before the cut", before), ("after the cut", after)):
        matrix = read_confusion(entry.get("confusion")) if "confusion" in entry else None
        if matrix is not None and len(matrix) == grouping.classes.size:
            found.append((title, matrix))
        elif "confusion" in entry:
            size = grouping.classes.size
            return Confused(
                problem=f"The confusions in {EVALUATION} are not {size} by {size} counts, one "
                "for each pair of the grouping's classes; evaluate again."
            )
    if not found:
        problem = run.problem(EVALUATION)
        return Confused(problem=problem or f"{EVALUATION} has no confusions; evaluate again.")
    labels = labels_by_level(grouping)
    order = class_order(labels[-1], superclasses.labels if superclasses else None)
    newest = found[-1][1]
    names = grouping.class_names or [str(i) for i in range(len(newest))]
    bounds = np.flatnonzero(np.diff(labels[-1][order])) + 1
    drawn = picture(
        f"confusion{run.number}",
        "Answers for each class; classes sorted by group, lines between groups.",
        lambda: draw_confusion(
            [(title, coarse_picture(matrix, order)) for title, matrix in found],
            (bounds / len(order)).tolist() if len(bounds) <= 64 else [],
        ),
    )
    shares = (confusion_shares(newest, of_level) for of_level in labels)
    return Confused(
        tuple(s for s in shares if s),
        tuple(
            (names[i], names[j], times, bool(labels[-1][i] == labels[-1][j]))
            for i, j, times in most_frequent(newest)
        ),
        drawn,
    )
