"""Summaries of a run as a whole for TensorBoard: its settings and its graph."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import keras
import tensorflow as tf
from tensorboard.plugins.hparams import api as hparams

from splitnet_tf.graph.keras_reader import functional_model


def write_run(
    writer: tf.summary.SummaryWriter, model: keras.Model, settings: Mapping[str, Any]
) -> None:
    """Writes the settings for the HParams plugin and the graph of a forward pass, at step 0.

    Args:
      writer: of the run's events.
      model: whose graph is shown.
      settings: JSON-like values; None and lists are shown as text.
    """
    plain = {
        key: value if isinstance(value, (bool, int, float, str)) else str(value)
        for key, value in settings.items()
        if value is not None
    }
    forward = tf.function(lambda images: model(images, training=False), autograph=False)
    inputs = keras.tree.map_structure(
        lambda x: tf.TensorSpec((1, *x.shape[1:]), x.dtype), functional_model(model).input
    )
    with writer.as_default(step=0):
        hparams.hparams(plain)
        tf.summary.graph(forward.get_concrete_function(inputs).graph)
