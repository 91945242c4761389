"""Kernels: the variables that mix input channels into output channels."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np

KERNEL_NAMES = ("kernel", "depthwise_kernel", "pointwise_kernel")


def is_kernel(variable: keras.Variable) -> bool:
    """True for kernels of dense layers and convolutions; False for biases, norms, assignments."""
    return variable.name in KERNEL_NAMES


def kernel_energy(kernel: Any) -> np.ndarray:
    """Squared weights between input and output channels, summed over the window.

    Args:
      kernel: array, tensor or variable (window..., in, out).

    Returns:
      Array (in, out), 0 or more.
    """
    squares = np.square(keras.ops.convert_to_numpy(kernel))
    return squares.sum(axis=tuple(range(squares.ndim - 2)))
