"""Multilayer perceptrons."""

from __future__ import annotations

from collections.abc import Sequence

import keras
from keras import layers


def mlp(
    hidden: Sequence[int] = (64, 64),
    num_classes: int = 10,
    input_shape: tuple[int, ...] = (16, 16, 3),
    dropout: float = 0.0,
    name: str | None = None,
) -> keras.Model:
    """Builds a plain network of dense layers ``fc1``, ``fc2``, ... and ``logits``.

    Args:
      hidden: ints, units of each hidden layer. Defaults to (64, 64).
      num_classes: int, size of the logits. Defaults to 10.
      input_shape: shape of one example, which is flattened. Defaults to (16, 16, 3).
      dropout: float from 0 to 1, share of the units dropped after each hidden layer. Defaults
        to 0.
      name: string, name of the model. Defaults to one of its own.
    """
    inputs = keras.Input(input_shape, name="images")
    x = layers.Flatten(name="flatten")(inputs)
    for i, units in enumerate(hidden, start=1):
        x = layers.Dense(units, name=f"fc{i}")(x)
        x = layers.ReLU(name=f"relu{i}")(x)
        if dropout > 0:
            x = layers.Dropout(dropout, name=f"dropout{i}")(x)
    return keras.Model(inputs, layers.Dense(num_classes, name="logits")(x), name=name or "mlp")
