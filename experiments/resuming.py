"""What a phase of training goes on from when it was stopped, on any backend, to the bit."""

from __future__ import annotations

import io
import logging
import zipfile
from pathlib import Path
from time import monotonic as now

import keras
import numpy as np

from splitnet_tf.errors import RunError
from splitnet_tf.storage.atomic import write_atomically

# What NumPy and zipfile raise on a damaged file; zipfile the second, on a changed version number.
DAMAGE = (
    *(zipfile.BadZipFile, NotImplementedError, TypeError, ValueError, LookupError),
    *(OSError, EOFError),
)
SECONDS = 60.0  # between two writings at least


class Progress(keras.callbacks.Callback):
    """Writes all variables of a model and its optimizer to one file between parts of a phase.

    Keras' ``BackupAndRestore`` writes several files, which a kill may leave apart, at every part,
    and forgets the state of the random generators. Without a hook for batches, no backend has to
    wait for each of them.

    Args:
      path: of the file; it stays when the phase is over.
      num_parts: of the phase; the last is always written.
    """

    def __init__(self, path: Path, num_parts: int):
        super().__init__()
        self._path, self._num_parts = path, num_parts
        self._written = now()

    def on_epoch_end(self, epoch, logs=None):
        if epoch + 1 < self._num_parts and now() - self._written < SECONDS:
            return
        state = map(keras.ops.convert_to_numpy, _state(self.model))
        arrays = {str(i): array for i, array in enumerate(state)}
        content = io.BytesIO()
        np.savez(content, parts=epoch + 1, **arrays)
        write_atomically(self._path, content.getvalue())
        self._written = now()


def restore(model: keras.Model, path: Path) -> int:
    """Gives a compiled model the state of a file of ``Progress``; returns how many parts are done.

    Raises:
      RunError: the file is not of this model.
    """
    model.optimizer.build(model.trainable_variables)
    if not path.exists():
        return 0
    state = _state(model)
    try:
        with np.load(path, allow_pickle=False) as arrays:
            found = [arrays[str(i)] for i in range(len(arrays.files) - 1)]
            parts = int(arrays["parts"])
    except DAMAGE:
        logging.warning("%s is damaged; its phase begins anew.", path)
        return 0
    if [a.shape for a in found] != [tuple(v.shape) for v in state]:
        raise RunError(f"{path} is not of this network; remove its folder to begin anew.")
    for variable, array in zip(state, found, strict=True):
        variable.assign(array)
    return parts


def _state(model: keras.Model) -> list:
    return [*model.variables, *model.optimizer.variables]


def cut_log(path: Path, parts: int) -> None:
    """Leaves the lines of the first ``parts`` in a log; the others will be written again."""
    if path.exists():
        header, *lines = path.read_text().splitlines(keepends=True) or [""]
        first = [x.partition(",")[0] for x in lines]
        kept = [
            x
            for x, part in zip(lines, first, strict=True)
            if x.endswith("\n") and part.isdecimal() and int(part) < parts
        ]
        write_atomically(path, "".join([header, *kept]).encode())
