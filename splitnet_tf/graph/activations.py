"""Activation functions: those that treat every element alone, and those that mix channels."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras

# Over all channels, in any order.
SOFTMAXES = ("softmax", "log_softmax", "sparsemax")

_ELEMENTWISE: set[Any] = {
    function
    for name, function in vars(keras.activations).items()
    if callable(function) and name not in (*SOFTMAXES, "glu", "get", "serialize", "deserialize")
}


def register_activation(function: Callable) -> Callable:
    """Says that an activation function treats every element alone.

    Its layers then run inside the branches of a tree. Returns the function, so that it serves as a
    decorator.

    Args:
      function: callable, the one that layers are given as ``activation``.

    >>> @sn.register_activation
    ... def leaky(x):
    ...     return keras.ops.maximum(x, 0.2 * x)
    """
    _ELEMENTWISE.add(function)
    return function


def is_elementwise(function: Any) -> bool:
    """True for a function, name or layer known to treat every element alone."""
    if isinstance(function, keras.layers.Layer):
        kinds = (keras.layers.ReLU, keras.layers.LeakyReLU, keras.layers.ELU)
        return type(function) in kinds or (
            type(function) is keras.layers.Activation and is_elementwise(function.activation)
        )
    return function is None or function in _ELEMENTWISE


def activation_name(function: Any) -> str:
    """Name of an activation function, for a sentence."""
    return getattr(function, "__name__", type(function).__name__)


def mixes_channels(op: Any) -> bool:
    """True when a layer's ``activation`` may mix channels: a softmax, or a function unknown."""
    return not is_elementwise(getattr(op, "activation", None))
