"""Several runs beside each other: the effect of gamma_3 on the sizes of groups."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

from splitnet_tf.report.curves import group_sizes
from splitnet_tf.report.run_folder import number
from splitnet_tf.report.runs import Run


@dataclasses.dataclass(frozen=True)
class Sizes:
    """Sizes of the groups of one run.

    Attributes:
      number: int, number of the run.
      gamma3: float, weight of R_E.
      classes: sizes of the class groups, empty groups too.
      spaces: sizes of the groups of every space.
    """

    number: int
    gamma3: float
    classes: tuple[int, ...]
    spaces: tuple[tuple[int, ...], ...]


def gamma3_sizes(runs: Sequence[Run]) -> list[Sizes]:
    """Sorts group sizes of runs by gamma_3; returns none unless the runs differ in it."""
    found = []
    for run in runs:
        if run.group is None:
            continue
        gamma3, spaces = number(run.group.config, "gamma3"), _sizes(run)
        if gamma3 is not None and spaces:
            found.append(Sizes(run.number, gamma3, spaces[-1], spaces))
    found.sort(key=lambda s: (s.gamma3, s.number))
    return found if len({s.gamma3 for s in found}) > 1 else []


def _sizes(run: Run) -> tuple[tuple[int, ...], ...]:
    """Sizes in every space, the classes last: of the grouping, or else where the log ends."""
    grouping = run.group.grouping or run.grouping
    if grouping:
        ordered = sorted(grouping.spaces, key=lambda s: s.name == grouping.class_space)
        return tuple(tuple(len(m) for m in space.members) for space in ordered)
    # A group that is empty keeps a grouping from being written: the most telling case.
    logged = group_sizes(run.group.metrics)
    return tuple(tuple(int(max(c.last, 0)) for c in curves) for curves in logged.values())


def imbalance(spaces: Sequence[Sequence[int]]) -> float:
    """Returns the relative deviation of group sizes from equal sizes, the mean over spaces."""
    return float(np.mean([np.std(s) / max(np.mean(s), 1e-9) for s in spaces]))
