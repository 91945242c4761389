"""Group lasso (Yuan and Lin, 2006): norms of groups, their penalty and its proximal step.

A group's norm is the Euclidean one. With ``factor="none"`` (Wen et al., 2016) all groups have the
same strength; with ``"sqrt_size"`` (Yuan and Lin) it is multiplied by the root of their size. Norms
and steps are float32, whatever the type of the weights, and finite where a norm is zero. Weights
are handed over by path, so that all functions are pure.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from keras import ops

from splitnet_tf.errors import ArgumentError
from splitnet_tf.sparsity.structures import Groups, Part

FACTORS = ("none", "sqrt_size")


def group_factors(groups: Groups, factor: str = "none") -> np.ndarray:
    """Factors on the strength, float32 (groups,).

    Args:
      groups: ``Groups``.
      factor: ``"none"`` for ones, ``"sqrt_size"`` for the root of each group's size.

    Raises:
      ArgumentError: another factor.
    """
    if factor not in FACTORS:
        raise ArgumentError(f"`factor` must be one of {', '.join(FACTORS)}; got {factor!r}.")
    if factor == "none":
        return np.ones(groups.count, "float32")
    return np.sqrt(groups.sizes()).astype("float32")


def weights_by_path(variables: Iterable[Any]) -> dict[str, Any]:
    """Variables by their paths.

    Raises:
      ArgumentError: two have the same path, as layers of nested models may.
    """
    found: dict[str, Any] = {}
    for v in variables:
        if found.setdefault(v.path, v) is not v:
            raise ArgumentError(
                f"`model` has two weights '{v.path}', in models inside it; give "
                "`plain_copy(model)`, in which their names differ."
            )
    return found


def group_norms(groups: Groups, weights: Mapping[str, Any]) -> Any:
    """Euclidean norms of the groups, float32 (groups,).

    Its gradient is that of each norm, w / |w|, and 0 where the norm is 0.

    Args:
      groups: ``Groups``.
      weights: array, tensor or variable by path.
    """
    total = sum(_squares(part, weights[part.path], groups.count) for part in groups.parts)
    positive = total > 0
    return ops.where(positive, ops.sqrt(ops.where(positive, total, 1.0)), 0.0)


def penalty(groups: Groups, weights: Mapping[str, Any], strengths: Any) -> Any:
    """The sum of strength times norm over the groups, a float32 scalar.

    Args:
      groups, weights: see ``group_norms``.
      strengths: float, or one a group (groups,).
    """
    return ops.sum(strengths * group_norms(groups, weights))


def proximal_step(groups: Groups, weights: Mapping[str, Any], amounts: Any) -> dict[str, Any]:
    """Weights after the proximal step w <- w max(0, 1 - amount / |w|) of each group.

    A group whose norm is at most its amount becomes exactly zero.

    Args:
      groups, weights: see ``group_norms``.
      amounts: learning rate times strength, float or one a group (groups,).
    """
    norms = group_norms(groups, weights)
    positive = norms > 0
    shares = ops.maximum(0.0, 1.0 - amounts / ops.where(positive, norms, 1.0))
    return scaled(groups, weights, ops.where(positive, shares, 0.0))


def scaled(groups: Groups, weights: Mapping[str, Any], factors: Any) -> dict[str, Any]:
    """Weights times the factor of each group they are in, by path.

    Args:
      groups, weights: see ``group_norms``.
      factors: float (groups,).
    """
    made: dict[str, Any] = {}
    for part in groups.parts:
        value = made.get(part.path, weights[part.path])
        made[part.path] = value * ops.cast(_spread(part, factors, groups.count), value.dtype)
    return made


def _squares(part: Part, value: Any, count: int) -> Any:
    """Summed squares of each group's weights in a part, (groups,)."""
    squares = ops.square(ops.cast(value, "float32"))
    others = tuple(a for a in range(len(part.shape)) if a not in part.axes)
    squares, where = ops.sum(squares, axis=others) if others else squares, part.groups
    if np.array_equal(where.ravel(), np.arange(count)):
        return ops.reshape(squares, (-1,))
    if part.pattern is not None:  # whole rows are added up, which is much faster
        where, rows, columns = part.pattern
        squares = ops.segment_sum(squares, rows, num_segments=where.shape[0])
        squares = ops.segment_sum(ops.transpose(squares), columns, num_segments=where.shape[1])
        squares = ops.transpose(squares)
    where = np.where(where < 0, count, where).ravel().astype("int32")
    flat = ops.reshape(squares, (-1,))
    return ops.segment_sum(flat, where, num_segments=count + 1)[:count]


def _spread(part: Part, factors: Any, count: int) -> Any:
    """Factors of the groups at their places in a variable, 1 elsewhere; broadcasts to it."""
    shape = [n if a in part.axes else 1 for a, n in enumerate(part.shape)]
    where = part.groups
    if not np.array_equal(where.ravel(), np.arange(count)):
        where = where if part.pattern is None else part.pattern[0]
        with_one = ops.concatenate([factors, ops.ones((1,), "float32")])
        factors = ops.take(with_one, np.where(where < 0, count, where).astype("int32"))
        if part.pattern is not None:
            _, rows, columns = part.pattern
            factors = ops.take(ops.take(factors, columns, axis=1), rows, axis=0)
    return ops.reshape(factors, shape)
