"""A multilayer perceptron."""

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
    """A plain functional network of dense layers ``fc1``, ``fc2``, ... and ``logits``.

    Args:
      hidden: units of each hidden layer.
      num_classes: size of the logits.
      input_shape: of one example, flattened.
      dropout: share of the units dropped after each hidden layer.
      name: of the model.
    """
    inputs = keras.Input(input_shape, name="images")
    x = layers.Flatten(name="flatten")(inputs)
    for i, units in enumerate(hidden, start=1):
        x = layers.Dense(units, name=f"fc{i}")(x)
        x = layers.ReLU(name=f"relu{i}")(x)
        if dropout > 0:
            x = layers.Dropout(dropout, name=f"dropout{i}")(x)
    return keras.Model(inputs, layers.Dense(num_classes, name="logits")(x), name=name or "mlp")
