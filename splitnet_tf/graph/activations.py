"""Which activation functions treat every element alone, and which mix channels."""

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
    """Says that an activation function of one's own treats every element alone."""
    _ELEMENTWISE.add(function)
    return function


def is_elementwise(function: Any) -> bool:
    """Whether an activation function treats every element alone, as far as is known."""
    if isinstance(function, keras.layers.Layer):
        kinds = (keras.layers.ReLU, keras.layers.LeakyReLU, keras.layers.ELU)
        return type(function) in kinds or (
            type(function) is keras.layers.Activation and is_elementwise(function.activation)
        )
    return function is None or function in _ELEMENTWISE


def activation_name(function: Any) -> str:
    """Its name, for a sentence."""
    return getattr(function, "__name__", type(function).__name__)


def mixes_channels(op: Any) -> bool:
    """Whether the layer's ``activation`` may mix channels (a softmax, or a function unknown)."""
    return not is_elementwise(getattr(op, "activation", None))
