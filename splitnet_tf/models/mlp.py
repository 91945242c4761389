"""Multilayer perceptrons."""

from __future__ import annotations

import math
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


def mlp_of_sizes(
    sizes: Sequence[int],
    num_classes: int | None = None,
    input_shape: tuple[int, ...] | None = None,
    dropout: float = 0.0,
    name: str | None = None,
) -> keras.Model:
    """Builds a network of dense layers from all of its sizes.

    Args:
      sizes: ints, numbers of inputs, of the units of each hidden layer, and of classes.
      num_classes: int, the last of ``sizes``. Defaults to it.
      input_shape: shape of one example, of as many numbers as the first of ``sizes`` says. Defaults
        to (inputs,).
      dropout: float from 0 to 1, share of the units dropped after each hidden layer. Defaults to 0.
      name: string, name of the model. Defaults to one of its own.

    Raises:
      ValueError: fewer than two sizes, one below 1, or another number of inputs or classes.

    >>> sn.models.build("mlp-784-500-300-10", input_shape=(28, 28, 1)).count_params()
    545810
    """
    if len(sizes) < 2 or min(sizes) < 1:
        raise ValueError(f"sizes must be two numbers or more, each 1 or more; got {sizes}.")
    inputs, *hidden, classes = sizes
    input_shape = (inputs,) if input_shape is None else tuple(input_shape)
    for what, given, named in (
        ("inputs", math.prod(input_shape), inputs),
        ("classes", classes if num_classes is None else num_classes, classes),
    ):
        if given != named:
            raise ValueError(f"The network has {named} {what}, the data {given}; change its sizes.")
    name = name or "mlp_" + "_".join(map(str, sizes))
    return mlp(hidden, classes, input_shape, dropout, name)
