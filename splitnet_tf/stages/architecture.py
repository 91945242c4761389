"""Digest of the layers of a model, which may not change under a run any more than its weights."""

from __future__ import annotations

import json
from typing import Any

import keras

from splitnet_tf.storage.digests import digest

# Settings that do not change what a trained model computes.
_WITHOUT = ("compile_config", "shared_object_id", "trainable")


def architecture_digest(model: keras.Model) -> str:
    """Digests what a model computes but for its weights; the names of its layers do not count.

    Args:
      model: functional or sequential.
    """
    config = keras.saving.serialize_keras_object(model)
    names: dict[str, str] = {}
    _number_layers(config, names)
    return digest([json.dumps(_numbered(config, names), sort_keys=True)])


def _number_layers(config: Any, names: dict[str, str]) -> None:
    """Gives numbers to the names of models and layers, in their order."""
    if isinstance(config, dict):
        if "layers" in config:
            for own in (config, *(layer["config"] for layer in config["layers"])):
                names.setdefault(own["name"], f"#{len(names)}")
        config = list(config.values())
    if isinstance(config, (list, tuple)):
        for value in config:
            _number_layers(value, names)


def _numbered(config: Any, names: dict[str, str]) -> Any:
    if isinstance(config, dict):
        return {k: _numbered(v, names) for k, v in config.items() if k not in _WITHOUT}
    if isinstance(config, (list, tuple)):
        return [_numbered(value, names) for value in config]
    return names.get(config, config) if isinstance(config, str) else config
