"""Sparse training watched: groups at zero, and the strength that would have made more."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from keras import ops

from splitnet_tf.sparsity.group_lasso import group_norms
from splitnet_tf.sparsity.plan import Term


@dataclasses.dataclass(frozen=True)
class ZeroCount:
    """Groups of one structure in one layer or space.

    Attributes:
      structure, name: str, see ``Groups``.
      zero: int, groups whose weights are all exactly zero.
      count: int, all groups.
      least: float, smallest norm that is not zero; None where every group is zero.
    """

    structure: str
    name: str
    zero: int
    count: int
    least: float | None


def zero_counts(terms: Sequence[Term], weights: Mapping[str, Any]) -> tuple[ZeroCount, ...]:
    """Counts the groups at zero.

    Args:
      terms: of a plan.
      weights: arrays or variables by path.
    """
    found = []
    for term in terms:
        norms = ops.convert_to_numpy(group_norms(term.groups, weights))
        left = norms[norms > 0]
        least = float(left.min()) if len(left) else None
        groups = term.groups
        zero = len(norms) - len(left)
        found.append(ZeroCount(groups.structure, groups.name, zero, len(norms), least))
    return tuple(found)


def needed_factor(terms: Sequence[Term], weights: Mapping[str, Any], rates: float) -> float | None:
    """Factor on all strengths with which one more group would have shrunk to zero, at least.

    The proximal steps of a run take ``rates`` times its strength from the norm of each group. A
    group that is left with some norm would have needed as much more. The loss may push harder then,
    so that this is a lower bound.

    Args:
      terms: of a plan.
      weights: arrays or variables by path.
      rates: float, sum of the learning rates of the steps done, each times the factor on the
        strength at the time.

    Returns:
      The factor, above 1; None when no group with a strength is left, or ``rates`` is 0.
    """
    factors = [np.zeros(0)]
    for term in terms:
        norms = ops.convert_to_numpy(group_norms(term.groups, weights))
        left = (norms > 0) & (term.strengths > 0)
        factors.append(norms[left] / (rates * term.strengths[left]) if rates else np.zeros(0))
    every = np.concatenate(factors)
    return 1.0 + float(every.min()) if len(every) else None
