"""Keras' random layers as functions of a seed: what they keep between calls is given to them."""

from __future__ import annotations

import keras
import tensorflow as tf


def call_with_seed(layer: keras.layers.Layer, x: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
    """Calls a layer in training, with all of its draws a function of a seed.

    Args:
      layer: built, without variables but those of its ``keras.random.SeedGenerator``.
      x: its input.
      seed: int tensor (2,).

    Returns:
      The output; the layer stays as it was.
    """
    states = layer.variables
    draws = tf.random.stateless_uniform((len(states), 2), seed, 0, 2**31 - 1, tf.int64)
    given = [(v, tf.cast(draws[i], v.dtype)) for i, v in enumerate(states)]
    with keras.StatelessScope(state_mapping=given):
        return layer(x, training=True)
