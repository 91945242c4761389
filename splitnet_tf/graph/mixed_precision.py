"""Models whose layers compute in bfloat16, for a while or in a copy.

Weights stay in float32, and while a model trains so do split losses, cross entropy and L2.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import keras

from splitnet_tf.graph.keras_reader import all_layers, functional_model

POLICY = "mixed_bfloat16"


@contextlib.contextmanager
def bfloat16_layers(model: keras.Model, wanted: bool = True) -> Iterator[None]:
    """While inside, the layers of ``model`` that compute in float32 compute in bfloat16.

    Layers that take part in no automatic casting, such as the split losses, are left alone.

    Args:
      model: its layers are changed for the time being, nested ones too; or a single layer.
      wanted: nothing happens without.
    """
    layers = [
        layer
        for layer in ((all_layers(model) or [model]) if wanted else ())
        if layer.dtype_policy.name == "float32" and layer.autocast
    ]
    before = [layer.dtype_policy for layer in layers]
    try:
        for layer in layers:
            layer.dtype_policy = POLICY
        yield
    finally:
        for layer, policy in zip(layers, before, strict=True):
            layer.dtype_policy = policy


class InBfloat16(keras.layers.Layer):
    """Model as one layer, for inference, whose layers compute in bfloat16; gives float32.

    It is traced and not saved: the model itself stays as it is, and its weights are shared.

    Args:
      model: functional ``keras.Model``.
    """

    def __init__(self, model: keras.Model):
        super().__init__(name=f"{model.name}_bfloat16")
        self.model = model

    def call(self, inputs):
        with bfloat16_layers(self.model):
            return in_float32(self.model(inputs, training=False))


def in_bfloat16(model: keras.Model) -> keras.Model:
    """A model that computes in bfloat16 with the weights of ``model``, of the same inputs."""
    inputs = keras.tree.map_structure(
        lambda x: keras.Input(batch_shape=x.shape, dtype=x.dtype, name=x.name),
        functional_model(model).input,
    )
    return keras.Model(inputs, InBfloat16(model)(inputs), name=model.name)


def in_float32(outputs: Any) -> Any:
    """Outputs in float32 where they are floating-point numbers, in the structure they came in."""

    def cast(y):
        real = keras.backend.is_float_dtype(y.dtype)
        return keras.ops.cast(y, "float32") if real else y

    return keras.tree.map_structure(cast, outputs)
