"""Models whose layers compute in bfloat16, for a while or in a copy.

Weights stay in float32, and while a model trains so do split losses, cross entropy and L2.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import keras

from splitnet_tf.graph.keras_reader import all_layers

POLICY = "mixed_bfloat16"


@contextlib.contextmanager
def bfloat16_layers(model: keras.Model, wanted: bool = True) -> Iterator[None]:
    """While inside, the layers of ``model`` that compute in float32 compute in bfloat16.

    Layers that take part in no automatic casting, such as the split losses, are left alone.

    Args:
      model: its layers are changed for the time being, nested ones too.
      wanted: nothing happens without.
    """
    layers = [
        layer
        for layer in (all_layers(model) if wanted else ())
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
