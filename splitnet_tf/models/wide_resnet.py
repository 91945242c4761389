"""Wide residual networks (Zagoruyko and Komodakis, BMVC 2016), pre-activation."""

from __future__ import annotations

import keras
from keras import layers

MOMENTUM = 0.9
EPSILON = 1e-5


def wide_resnet(
    depth: int = 16,
    width: float = 8,
    num_classes: int = 100,
    input_shape: tuple[int, int, int] = (32, 32, 3),
    dropout: float = 0.0,
    dropout_from: str | None = None,
    bn_scale: bool = True,
    name: str | None = None,
) -> keras.Model:
    """Builds a plain WRN-depth-width that returns logits.

    Layers are called ``init_conv``, ``unit_<stage>_<unit>_<part>``, ``unit_last_<part>`` and
    ``logits``.

    Args:
      depth: int from 10 to 1000, 6n + 4 with n residual units a stage. Defaults to 16.
      width: float from 0.05 to 100. The first stage has 16 times as many channels, rounded; each
        further stage has twice those of the stage before. Defaults to 8.
      num_classes: int, size of the logits. Defaults to 100.
      input_shape: (height, width, channels). Defaults to (32, 32, 3).
      dropout: float from 0 to 1, share of the features dropped between the two convolutions of a
        unit. Defaults to 0.
      dropout_from: name of the first unit with dropout, such as ``unit_2_0``. Defaults to the
        first of all.
      bn_scale: bool, gives batch norm a scale. Defaults to True.
      name: string, name of the model. Defaults to one of its own.

    Raises:
      ValueError: the depth is not 6n + 4, or the depth or width is out of range.
    """
    if not 10 <= depth <= 1000 or (depth - 4) % 6:
        raise ValueError(f"depth must be 6n + 4 (10, 16, 22, 28, ..., 1000); got {depth}.")
    if not 0.05 <= width <= 100:
        raise ValueError(f"width must be from 0.05 to 100; got {width:g}.")
    units = (depth - 4) // 6
    names = [f"unit_{s}_{u}" for s in (1, 2, 3) for u in range(units)]
    if dropout_from is not None and dropout_from not in names:
        raise ValueError(f"dropout_from must be one of {', '.join(names)}; got {dropout_from!r}.")
    first_dropped = names.index(dropout_from) if dropout_from else 0

    inputs = keras.Input(input_shape, name="images")
    x = conv(16, 3, 1, "init_conv")(inputs)
    for i, unit in enumerate(names):
        stage, index = divmod(i, units)
        rate = dropout if i >= first_dropped else 0.0
        strides = 2 if stage > 0 and index == 0 else 1
        x = _unit(x, round(16 * width) * 2**stage, strides, rate, bn_scale, unit)
    x = norm("unit_last_bn", bn_scale)(x)
    x = layers.ReLU(name="unit_last_relu")(x)
    x = layers.GlobalAveragePooling2D(name="unit_last_pool")(x)
    outputs = layers.Dense(num_classes, name="logits")(x)
    return keras.Model(inputs, outputs, name=name or f"wrn_{depth}_{width:g}")


def _unit(x, filters, strides, dropout, bn_scale, name):
    """Adds BN, ReLU, conv, BN, ReLU, (dropout), conv to the input or to its 1x1 convolution."""
    y = norm(f"{name}_bn_1", bn_scale)(x)
    y = layers.ReLU(name=f"{name}_relu_1")(y)
    shortcut = x
    if strides != 1 or x.shape[-1] != filters:
        shortcut = conv(filters, 1, strides, f"{name}_shortcut")(y)
    y = conv(filters, 3, strides, f"{name}_conv_1")(y)
    y = norm(f"{name}_bn_2", bn_scale)(y)
    y = layers.ReLU(name=f"{name}_relu_2")(y)
    if dropout > 0:
        y = layers.Dropout(dropout, name=f"{name}_dropout")(y)
    y = conv(filters, 3, 1, f"{name}_conv_2")(y)
    return layers.Add(name=f"{name}_add")([y, shortcut])


def conv(filters: int, size: int, strides: int, name: str) -> layers.Conv2D:
    """A padded convolution without bias."""
    # Normal with variance 2 / (size^2 filters), He et al. 2015.
    start = keras.initializers.VarianceScaling(
        2.0, mode="fan_out", distribution="untruncated_normal"
    )
    return layers.Conv2D(
        filters,
        size,
        strides=strides,
        padding="same",
        use_bias=False,
        kernel_initializer=start,
        name=name,
    )


def norm(name: str, scale: bool = True) -> layers.BatchNormalization:
    """Batch norm with the momentum and epsilon of the 2017 code."""
    return layers.BatchNormalization(momentum=MOMENTUM, epsilon=EPSILON, scale=scale, name=name)
