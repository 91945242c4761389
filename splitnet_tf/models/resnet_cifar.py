"""Residual networks for images of 32x32 (He et al., CVPR 2016, section 4.2)."""

from __future__ import annotations

import keras
from keras import layers, ops

from splitnet_tf.models.wide_resnet import conv, norm

SHORTCUTS = ("identity", "projection")


def resnet_cifar(
    depth: int = 20,
    width: float = 1,
    num_classes: int = 10,
    input_shape: tuple[int, int, int] = (32, 32, 3),
    shortcut: str = "identity",
    dropout: float = 0.0,
    name: str | None = None,
) -> keras.Model:
    """Builds a plain ResNet of three stages with 16, 32 and 64 channels that returns logits.

    Layers are called ``init_conv``, ``unit_<stage>_<unit>_<part>`` with stages 1 to 3, and
    ``logits``. ResNet-20 has 268,346 weights in kernels and the last bias.

    Args:
      depth: int from 8 to 1202, 6n + 2 with n units of two convolutions a stage. Defaults to 20.
      width: float from 0.1 to 100, factor on the channels of every convolution. Defaults to 1.
      num_classes: int, size of the logits. Defaults to 10.
      input_shape: (height, width, channels). Defaults to (32, 32, 3).
      shortcut: ``"identity"`` (default), which takes every second position and adds channels of
        zeros where a stage begins, or ``"projection"``, a 1x1 convolution there.
      dropout: float from 0 to 1, share of the features dropped before ``logits``. Defaults to 0.
      name: string, name of the model. Defaults to one of its own.

    Raises:
      ValueError: the depth is not 6n + 2, the width is out of range, or another shortcut.
    """
    if not 8 <= depth <= 1202 or (depth - 2) % 6:
        raise ValueError(f"depth must be 6n + 2 (8, 14, 20, 32, ..., 1202); got {depth}.")
    if not 0.1 <= width <= 100:
        raise ValueError(f"width must be from 0.1 to 100; got {width:g}.")
    if shortcut not in SHORTCUTS:
        raise ValueError(f"shortcut must be one of {', '.join(SHORTCUTS)}; got {shortcut!r}.")
    inputs = keras.Input(input_shape, name="images")
    x = conv(round(16 * width), 3, 1, "init_conv")(inputs)
    x = layers.ReLU(name="init_relu")(norm("init_bn")(x))
    for stage in range(3):
        for i in range((depth - 2) // 6):
            strides = 2 if stage > 0 and i == 0 else 1
            filters = round(16 * width) * 2**stage
            x = _unit(x, filters, strides, shortcut, f"unit_{stage + 1}_{i}")
    x = layers.GlobalAveragePooling2D(name="pool")(x)
    if dropout > 0:
        x = layers.Dropout(dropout, name="dropout")(x)
    outputs = layers.Dense(num_classes, name="logits")(x)
    factor = f"x{width:g}" if width != 1 else ""
    return keras.Model(inputs, outputs, name=name or f"resnet_{depth}{factor}")


def _unit(x, filters, strides, shortcut, name):
    y = norm(f"{name}_bn_1")(conv(filters, 3, strides, f"{name}_conv_1")(x))
    y = layers.ReLU(name=f"{name}_relu_1")(y)
    y = norm(f"{name}_bn_2")(conv(filters, 3, 1, f"{name}_conv_2")(y))
    if strides > 1 and shortcut == "projection":
        x = conv(filters, 1, strides, f"{name}_shortcut")(x)
        x = norm(f"{name}_shortcut_bn")(x)
    elif strides > 1:
        x = layers.AveragePooling2D(1, strides=strides, name=f"{name}_every_second")(x)
        x = ops.pad(x, ((0, 0), (0, 0), (0, 0), (0, filters - x.shape[-1])))
    return layers.ReLU(name=f"{name}_relu")(layers.Add(name=f"{name}_add")([y, x]))
