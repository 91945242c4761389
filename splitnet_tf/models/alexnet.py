"""AlexNet in one tower (Krizhevsky, 2014: one weird trick), as the paper counts it."""

from __future__ import annotations

import keras
from keras import layers


def alexnet(
    num_classes: int = 1000,
    input_shape: tuple[int, int, int] = (224, 224, 3),
    width: float = 1.0,
    dropout: float = 0.5,
    name: str | None = None,
) -> keras.Model:
    """Builds a plain AlexNet that returns logits: ``conv1`` ... ``conv5``, ``fc6`` ... ``fc8``.

    The first convolution is padded so that 224x224 images give 56x56 positions; its channels are
    96, 256, 384, 384 and 256, its dense layers 4096 wide, 62.4 million parameters in all.

    Args:
      num_classes: int, units of ``fc8``. Defaults to 1000.
      input_shape: (height, width, channels). Defaults to (224, 224, 3).
      width: float from 0.001 to 10, factor on the channels and units of every layer but the last.
        Defaults to 1.
      dropout: float from 0 to 1, share of the units dropped after ``fc6`` and ``fc7``. Defaults
        to 0.5.
      name: string, name of the model. Defaults to one of its own.

    Raises:
      ValueError: the width is out of range.
    """
    if not 0.001 <= width <= 10:
        raise ValueError(f"width must be from 0.001 to 10; got {width:g}.")

    def scaled(channels):
        return max(1, round(channels * width))

    def conv(x, filters, size, strides, name):
        x = layers.Conv2D(scaled(filters), size, strides=strides, padding="same", name=name)(x)
        return layers.ReLU(name=f"relu{name[-1]}")(x)

    def pool(x, name):
        return layers.MaxPooling2D(3, strides=2, name=name)(x)

    inputs = keras.Input(input_shape, name="images")
    x = pool(conv(inputs, 96, 11, 4, "conv1"), "pool1")
    x = pool(conv(x, 256, 5, 1, "conv2"), "pool2")
    x = conv(x, 384, 3, 1, "conv3")
    x = conv(x, 384, 3, 1, "conv4")
    x = pool(conv(x, 256, 3, 1, "conv5"), "pool5")
    x = layers.Flatten(name="flatten")(x)
    for i in (6, 7):
        x = layers.Dense(scaled(4096), name=f"fc{i}")(x)
        x = layers.ReLU(name=f"relu{i}")(x)
        if dropout > 0:
            x = layers.Dropout(dropout, name=f"dropout{i}")(x)
    return keras.Model(inputs, layers.Dense(num_classes, name="fc8")(x), name=name or "alexnet")
