"""Checks of the weights of a teacher and of a loss on groups."""

from __future__ import annotations

import math
from numbers import Real
from typing import Any

import numpy as np

from splitnet_tf.errors import ArgumentError

FAR = 1e9  # stands for minus infinity among logits, and is above every weight


def check_teaching(name: str, weight: Any, temperature: Any, parts: Any, group_weight: Any) -> None:
    """Raises ArgumentError for values out of their range.

    Args:
      name: string, name of the argument ``weight``.
      weight: share of the teacher, from 0 to 1.
      temperature: above 0.
      parts: two weights of 0 or more that are not both 0, or None.
      group_weight: 0 or more.
    """
    if not (_is_number(weight) and 0 <= weight <= 1):
        raise ArgumentError(f"`{name}` must be from 0 to 1; got {weight!r}.")
    if not (_is_number(temperature) and 0 < temperature < FAR):
        raise ArgumentError(f"`temperature` must be above 0; got {temperature!r}.")
    if not (_is_number(group_weight) and 0 <= group_weight < FAR):
        raise ArgumentError(f"`group_weight` must be 0 or more; got {group_weight!r}.")
    if parts is None:
        return
    two = isinstance(parts, (tuple, list)) and len(parts) == 2 and all(map(_is_number, parts))
    if not two or not all(0 <= part < FAR for part in parts) or not sum(parts):
        raise ArgumentError(
            "`parts` must be two numbers of 0 or more, the weights of which group and of which "
            f"class inside each group, not both 0; got {parts!r}."
        )


def check_groups(groups: Any) -> None:
    """Raises ArgumentError for groups of classes that are not a list of numbers from 0."""
    if groups is None:
        return
    found = np.asarray(groups)
    if found.ndim != 1 or not np.issubdtype(found.dtype, np.integer) or found.min(initial=0) < 0:
        raise ArgumentError(
            f"`groups` must be the group of each class, whole numbers from 0; got {groups!r}."
        )


def _is_number(value: Any) -> bool:
    return isinstance(value, Real) and math.isfinite(value)
