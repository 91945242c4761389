"""LeNet as Caffe has it (after LeCun et al., 1998), on which SSL is measured."""

from __future__ import annotations

from collections.abc import Sequence

import keras
from keras import layers


def lenet(
    num_classes: int = 10,
    input_shape: tuple[int, int, int] = (28, 28, 1),
    filters: Sequence[int] = (20, 50),
    hidden: int = 500,
    activation: str | None = None,
    dropout: float = 0.0,
    name: str | None = None,
) -> keras.Model:
    """Builds a plain LeNet that returns logits: ``conv1``, ``conv2``, ``fc1`` and ``logits``.

    Both convolutions are 5x5 without padding and are max-pooled by 2. On 28x28 images the network
    has 430,500 weights and 2,293,000 multiply-adds.

    Args:
      num_classes: int, size of the logits. Defaults to 10.
      input_shape: (height, width, channels). Defaults to (28, 28, 1).
      filters: ints, filters of the two convolutions. Defaults to (20, 50).
      hidden: int, units of ``fc1``, which has a ReLU. Defaults to 500.
      activation: name of a function behind each pooling. Defaults to none, as in Caffe.
      dropout: float from 0 to 1, share of the units dropped after ``fc1``. Defaults to 0.
      name: string, name of the model. Defaults to one of its own.

    >>> sn.models.lenet().count_params()
    431080
    """
    inputs = keras.Input(input_shape, name="images")
    x = inputs
    for i, count in enumerate(filters, start=1):
        x = layers.Conv2D(count, 5, name=f"conv{i}")(x)
        x = layers.MaxPooling2D(2, name=f"pool{i}")(x)
        if activation is not None:
            x = layers.Activation(activation, name=f"act{i}")(x)
    x = layers.Dense(hidden, name="fc1")(layers.Flatten(name="flatten")(x))
    x = layers.ReLU(name="relu")(x)
    if dropout > 0:
        x = layers.Dropout(dropout, name="dropout")(x)
    return keras.Model(inputs, layers.Dense(num_classes, name="logits")(x), name=name or "lenet")
