"""A hook that describes a run to TensorBoard: its settings and its graph."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import keras

from splitnet_tf.training.hooks import Hook
from splitnet_tf.training.run_summaries import write_run


class RunHook(Hook):
    """Writes the settings of a run and the graph of its model, once.

    Args:
      model: the model whose graph is shown.
      settings: values by name, see ``write_run``.
    """

    def __init__(self, model: keras.Model, settings: Mapping[str, Any]):
        self._model, self._settings = model, settings

    def begin(self, writer) -> None:
        write_run(writer, self._model, self._settings)
