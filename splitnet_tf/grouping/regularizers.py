"""Split losses as pure functions of arrays (equations 4, 5 and 6 of the paper).

SplitNet, Kim, Park, Kim and Hwang, ICML 2017, PMLR 70:1866-1874. All take and return backend
tensors. ``scaling="paper"`` is the equations as printed; ``scaling="unit"`` divides each so that
one set of gammas serves layers of every size: R_D and R_E are 1 at the uniform assignment.
"""

from __future__ import annotations

import math

from keras import ops

from splitnet_tf.errors import ArgumentError

SCALINGS = ("unit", "paper")

# Under the square root, so that its gradient at zero is finite (zero).
ROOT_FLOOR = 1e-12


def check_scaling(scaling: str) -> str:
    """Returns ``scaling``; raises ArgumentError when it is not one of ``SCALINGS``."""
    if scaling not in SCALINGS:
        raise ArgumentError(f"`scaling` must be one of {', '.join(SCALINGS)}; got {scaling!r}.")
    return scaling


def _energy(kernel, scaling: str = "unit"):
    """Squared weights between input and output channels.

    Args:
      kernel: (in, out), or (window..., in, out) of a convolution.
      scaling: ``"unit"`` takes the mean over the window, ``"paper"`` the sum.

    Returns:
      (in, out), non-negative.
    """
    window = tuple(range(len(kernel.shape) - 2))
    squares = ops.square(kernel)
    if not window:
        return squares
    # Not einsum: its transposes make it ten times slower on CPUs.
    return ops.mean(squares, axis=window) if scaling == "unit" else ops.sum(squares, axis=window)


def group_weight(kernel, p, q, scaling: str = "unit"):
    """Computes R_W, equation 4: row and column l2,1 norms of what leaves its group.

    ``sum_g sum_i |((I - P_g) W Q_g)_i*|_2 + sum_g sum_j |(P_g W (I - Q_g))_*j|_2``, by two
    matrix products with the squared weights.

    Args:
      kernel: (in, out) or (window..., in, out).
      p: (G, in), columns sum to 1: group membership of the input channels.
      q: (G, out), columns sum to 1: group membership of the output channels.
      scaling: ``"unit"`` or ``"paper"``.

    Returns:
      A scalar, 0 for a single group.
    """
    num_groups, size_in = p.shape
    size_out = q.shape[1]
    if num_groups == 1:
        return ops.zeros((), dtype=p.dtype)
    energy = _energy(kernel, scaling)
    rows = ops.sqrt(ops.maximum(ops.matmul(energy, ops.transpose(ops.square(q))), ROOT_FLOOR))
    cols = ops.sqrt(ops.maximum(ops.matmul(ops.square(p), energy), ROOT_FLOOR))
    row_term = ops.sum((1.0 - ops.transpose(p)) * rows)
    col_term = ops.sum((1.0 - q) * cols)
    if scaling == "paper":
        return row_term + col_term
    height = kernel.shape[0] if len(kernel.shape) > 2 else 1
    start = math.sqrt(1.0 / (height**2 * size_in))
    unit = 2.0 * (num_groups - 1) / num_groups * start
    return (
        row_term / (size_in * math.sqrt(size_out)) + col_term / (math.sqrt(size_in) * size_out)
    ) / unit


def disjointness(p, scaling: str = "unit"):
    """Computes R_D, equation 5: the sum over i < j of p_i . p_j; 0 exactly if p is one-hot.

    Args:
      p: (G, D), columns sum to 1.
      scaling: ``"unit"`` divides by its value at the uniform assignment, D(G-1)/(2G).
    """
    num_groups, size = p.shape
    if num_groups == 1:
        return ops.zeros((), dtype=p.dtype)
    overlap = 0.5 * ops.sum(ops.square(ops.sum(p, axis=0)) - ops.sum(ops.square(p), axis=0))
    return overlap / (size * (num_groups - 1) / (2 * num_groups)) if scaling == "unit" else overlap


def balance(p, scaling: str = "unit"):
    """Computes R_E, equation 6: sum over g of (sum_i p_gi)^2, least exactly when groups are equal.

    Args:
      p: (G, D), columns sum to 1.
      scaling: ``"unit"`` divides by its least value, D^2/G.
    """
    num_groups, size = p.shape
    value = ops.sum(ops.square(ops.sum(p, axis=1)))
    return value / (size**2 / num_groups) if scaling == "unit" else value


def least_balance(num_groups: int, size: int, scaling: str = "unit") -> float:
    """Returns the least value of ``balance``, that of groups of equal size."""
    return 1.0 if scaling == "unit" else size**2 / num_groups
