"""Models by name, as the programs' ``--model`` takes them."""

from __future__ import annotations

import re

import keras

from splitnet_tf.models.alexnet import alexnet
from splitnet_tf.models.mlp import mlp
from splitnet_tf.models.wide_resnet import wide_resnet

KNOWN = ("wrn-<depth>-<width>", "alexnet", "mlp")


def build(name: str, num_classes: int, input_shape: tuple[int, ...], **settings) -> keras.Model:
    """Builds a model by name: ``wrn-16-8``, ``alexnet`` or ``mlp``.

    Args:
      name: of the model; case does not matter.
      num_classes: size of the logits.
      input_shape: of one example.
      **settings: handed on to the model's function.

    Raises:
      ValueError: an unknown name.
    """
    wide = re.fullmatch(r"wrn-(\d+)-(\d+)", name.lower())
    if wide:
        depth, width = int(wide[1]), int(wide[2])
        return wide_resnet(depth, width, num_classes, input_shape, **settings)
    plain = {"alexnet": alexnet, "mlp": mlp}.get(name.lower())
    if plain is None:
        raise ValueError(f"model must be one of {', '.join(KNOWN)}; got {name!r}.")
    return plain(num_classes=num_classes, input_shape=input_shape, **settings)
