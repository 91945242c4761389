"""Residual networks for ImageNet (He et al., CVPR 2016), with a width factor."""

from __future__ import annotations

import keras
from keras import layers

from splitnet_tf.models.wide_resnet import conv, norm

UNITS = {18: (2, 2, 2, 2), 34: (3, 4, 6, 3), 50: (3, 4, 6, 3)}


def resnet(
    depth: int = 18,
    width: float = 1,
    num_classes: int = 1000,
    input_shape: tuple[int, int, int] = (224, 224, 3),
    dropout: float = 0.0,
    name: str | None = None,
) -> keras.Model:
    """Builds a plain ResNet that returns logits; its units have two convolutions up to depth 34.

    Layers are called ``init_conv``, ``unit_<stage>_<unit>_<part>`` with stages 1 to 4, and
    ``logits``. The strides of a bottleneck lie on its 3x3 convolution.

    Args:
      depth: int, 18, 34 or 50. Defaults to 18.
      width: float from 0.02 to 100, factor on the channels of every convolution; 2 gives the
        paper's ResNet-18x2. Defaults to 1.
      num_classes: int, units of ``logits``. Defaults to 1000.
      input_shape: (height, width, channels). Defaults to (224, 224, 3).
      dropout: float from 0 to 1, share of the features dropped before ``logits``. Defaults to 0.
      name: string, name of the model. Defaults to one of its own.

    Raises:
      ValueError: another depth, or a width out of range.
    """
    if depth not in UNITS:
        raise ValueError(f"depth must be one of {', '.join(map(str, UNITS))}; got {depth}.")
    if not 0.02 <= width <= 100:
        raise ValueError(f"width must be from 0.02 to 100; got {width:g}.")
    unit = _bottleneck if depth >= 50 else _basic
    inputs = keras.Input(input_shape, name="images")
    x = _conv_norm(inputs, round(64 * width), 7, 2, "init_conv", "init_bn")
    x = layers.ReLU(name="init_relu")(x)
    x = layers.MaxPooling2D(3, strides=2, padding="same", name="init_pool")(x)
    for stage, units in enumerate(UNITS[depth]):
        for i in range(units):
            strides = 2 if stage > 0 and i == 0 else 1
            x = unit(x, round(64 * width * 2**stage), strides, f"unit_{stage + 1}_{i}")
    x = layers.GlobalAveragePooling2D(name="pool")(x)
    if dropout > 0:
        x = layers.Dropout(dropout, name="dropout")(x)
    outputs = layers.Dense(num_classes, name="logits")(x)
    factor = f"x{width:g}" if width != 1 else ""
    return keras.Model(inputs, outputs, name=name or f"resnet_{depth}{factor}")


def _basic(x, filters, strides, name):
    y = _conv_norm(x, filters, 3, strides, f"{name}_conv_1", f"{name}_bn_1")
    y = layers.ReLU(name=f"{name}_relu_1")(y)
    y = _conv_norm(y, filters, 3, 1, f"{name}_conv_2", f"{name}_bn_2")
    return _join(x, y, filters, strides, name)


def _bottleneck(x, filters, strides, name):
    y = _conv_norm(x, filters, 1, 1, f"{name}_conv_1", f"{name}_bn_1")
    y = layers.ReLU(name=f"{name}_relu_1")(y)
    y = _conv_norm(y, filters, 3, strides, f"{name}_conv_2", f"{name}_bn_2")
    y = layers.ReLU(name=f"{name}_relu_2")(y)
    y = _conv_norm(y, 4 * filters, 1, 1, f"{name}_conv_3", f"{name}_bn_3")
    return _join(x, y, 4 * filters, strides, name)


def _join(x, y, filters, strides, name):
    """Adds the input, or its 1x1 convolution where the shapes differ."""
    if strides != 1 or x.shape[-1] != filters:
        x = _conv_norm(x, filters, 1, strides, f"{name}_shortcut", f"{name}_shortcut_bn")
    return layers.ReLU(name=f"{name}_relu")(layers.Add(name=f"{name}_add")([y, x]))


def _conv_norm(x, filters, size, strides, name, norm_name):
    return norm(norm_name)(conv(filters, size, strides, name)(x))
