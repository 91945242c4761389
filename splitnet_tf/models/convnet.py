"""The small networks that Caffe has for CIFAR-10, on which SSL is measured."""

from __future__ import annotations

from collections.abc import Sequence

import keras
from keras import layers

KINDS = ("full", "quick")


def convnet(
    kind: str = "full",
    num_classes: int = 10,
    input_shape: tuple[int, int, int] = (32, 32, 3),
    filters: Sequence[int] = (32, 32, 64),
    dropout: float = 0.0,
    name: str | None = None,
) -> keras.Model:
    """Builds a plain network of three convolutions that returns logits.

    Layers are called ``conv1`` to ``conv3`` (5x5, padded, each pooled by 3 with a stride of 2, the
    first by its maximum, the others by their mean), ``fc1`` and ``logits``. Caffe's local response
    normalization of ``full`` is left out: with its factor of 5e-5 it changes nothing on images of
    deviation 1.

    Args:
      kind: ``"full"`` (default), the paper's ConvNet, or ``"quick"``, with a dense layer of 64
        units before the logits.
      num_classes: int, size of the logits. Defaults to 10.
      input_shape: (height, width, channels). Defaults to (32, 32, 3).
      filters: ints, filters of the three convolutions. Defaults to (32, 32, 64).
      dropout: float from 0 to 1, share of the features dropped before ``logits``. Defaults to 0.
      name: string, name of the model. Defaults to one of its own.

    Raises:
      ValueError: another kind.

    >>> sn.models.convnet().count_params()
    89578
    """
    if kind not in KINDS:
        raise ValueError(f"kind must be one of {', '.join(KINDS)}; got {kind!r}.")
    inputs = keras.Input(input_shape, name="images")
    x = inputs
    for i, count in enumerate(filters, start=1):
        x = layers.Conv2D(count, 5, padding="same", name=f"conv{i}")(x)
        if i == 1:
            x = layers.MaxPooling2D(3, strides=2, padding="same", name="pool1")(x)
        x = layers.ReLU(name=f"relu{i}")(x)
        if i > 1:
            x = layers.AveragePooling2D(3, strides=2, padding="same", name=f"pool{i}")(x)
    x = layers.Flatten(name="flatten")(x)
    if kind == "quick":
        x = layers.Dense(64, name="fc1")(x)
    if dropout > 0:
        x = layers.Dropout(dropout, name="dropout")(x)
    outputs = layers.Dense(num_classes, name="logits")(x)
    return keras.Model(inputs, outputs, name=name or f"convnet_{kind}")
