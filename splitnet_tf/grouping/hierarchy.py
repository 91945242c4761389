"""Hierarchy: groups of an upper section spread over the groups of a lower section."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def spread(upper: int, lower: int) -> tuple[int, ...]:
    """Finds the lower group of each upper group: as even as they go, in order.

    >>> spread(5, 2)
    (0, 0, 0, 1, 1)
    """
    return tuple(g * lower // upper for g in range(upper))


def merge_map(groups: tuple[int, ...], upper: int, lower: int) -> tuple[int, ...]:
    """Finds the group at a lower level of each group at an upper level, through those between.

    Args:
      groups: number of groups of each level, from the trunk (1) up.
      upper, lower: levels, ``upper >= lower``.
    """
    parent = np.arange(groups[upper])
    for level in range(upper, lower, -1):
        parent = np.asarray(spread(groups[level], groups[level - 1]))[parent]
    return tuple(int(g) for g in parent)


def even_sizes(size: int, num_groups: int) -> tuple[int, ...]:
    """Divides ``size`` members into ``num_groups`` sizes that differ by at most one."""
    bounds = [g * size // num_groups for g in range(num_groups + 1)]
    return tuple(b - a for a, b in zip(bounds, bounds[1:], strict=False))


def even_labels(size: int, num_groups: int) -> np.ndarray:
    """Finds the group of each of ``size`` members in runs of equal length, int (size,)."""
    return np.repeat(np.arange(num_groups), even_sizes(size, num_groups))


def shares(size: int, weights: Sequence[int]) -> tuple[int, ...]:
    """Divides ``size`` members into parts in proportion to weights, to within one.

    With at least as many members as the weights add up to, every part has its weight or more.
    """
    ends = [0, *np.cumsum(weights).tolist()]
    bounds = [end * size // ends[-1] for end in ends]
    return tuple(b - a for a, b in zip(bounds, bounds[1:], strict=False))


def node_names(groups: tuple[int, ...]) -> dict[tuple[int, int], str]:
    """Names the tree's nodes by (level, group): ``branch_1_0`` is a child of ``branch_1``.

    Args:
      groups: number of groups of each level, from the trunk (1) up.
    """
    names = {(0, 0): "trunk"}
    for level in range(1, len(groups)):
        below = spread(groups[level], groups[level - 1])
        for group, parent in enumerate(below):
            stem = names[level - 1, parent] if level > 1 else "branch"
            names[level, group] = f"{stem}_{below[:group].count(parent)}"
    return names
