"""The state that a stopped phase of training goes on from, on any backend, to the bit."""

from __future__ import annotations

import io
import logging
import time
import zipfile
from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np

from splitnet_tf.errors import RunError
from splitnet_tf.graph.state import without_settings
from splitnet_tf.storage.atomic import write_atomically

# Raised by NumPy and zipfile on a damaged file; the second by zipfile on a changed version number.
DAMAGE = (
    *(zipfile.BadZipFile, NotImplementedError, TypeError, ValueError, LookupError),
    *(OSError, EOFError),
)
SECONDS = 60.0  # least time between two writings


class Progress(keras.callbacks.Callback):
    """Writes all variables of a model and its optimizer to one file, after an epoch.

    Keras' ``BackupAndRestore`` writes several files, which a kill may leave apart, at every epoch,
    and forgets the state of the random generators.

    Args:
      path: path of the file; it stays when the phase is over.
      epochs: int, epochs of ``fit``; the last is always written.
      seconds: float, least time between two writings. Defaults to ``SECONDS``.
      now: returns the time in seconds.
    """

    def __init__(
        self,
        path: Path,
        epochs: int,
        seconds: float = SECONDS,
        now: Callable[[], float] = time.monotonic,
    ):
        super().__init__()
        self._path, self._epochs = path, epochs
        self._seconds, self._now = seconds, now
        self._written = now()

    def on_epoch_end(self, epoch, logs=None):
        if epoch + 1 < self._epochs and self._now() - self._written < self._seconds:
            return
        state = map(keras.ops.convert_to_numpy, _state(self.model))
        arrays = {str(i): array for i, array in enumerate(state)}
        content = io.BytesIO()
        np.savez(content, epochs=epoch + 1, **arrays)
        write_atomically(self._path, content.getvalue())
        self._written = self._now()


def restore(model: keras.Model, path: Path) -> int:
    """Gives a compiled model the state of a file of ``Progress``; returns the epochs done.

    Raises:
      RunError: the file belongs to another model.
    """
    model.optimizer.build(model.trainable_variables)
    if not path.exists():
        return 0
    state = _state(model)
    try:
        with np.load(path, allow_pickle=False) as arrays:
            found = [arrays[str(i)] for i in range(len(arrays.files) - 1)]
            epochs = int(arrays["epochs"])
    except DAMAGE:
        logging.warning("%s is damaged; its phase begins anew.", path)
        return 0
    if [a.shape for a in found] != [tuple(v.shape) for v in state]:
        raise RunError(f"{path} belongs to another network; remove its folder to begin anew.")
    for variable, array in zip(state, found, strict=True):
        variable.assign(array)
    return epochs


def _state(model: keras.Model) -> list:
    return [*without_settings(model.variables), *model.optimizer.variables]


def cut_log(path: Path, epochs: int) -> None:
    """Leaves the lines of the first ``epochs`` in a log; the others will be written again."""
    if path.exists():
        header, *lines = path.read_text().splitlines(keepends=True) or [""]
        done = {str(epoch) for epoch in range(epochs)}
        kept = [x for x in lines if x.endswith("\n") and x.partition(",")[0] in done]
        write_atomically(path, "".join([header, *kept]).encode())
