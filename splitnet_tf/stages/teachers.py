"""Teachers from files: a model, the result of a run, or the best network before a cut."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

import keras
import numpy as np

from splitnet_tf.errors import ArgumentError, RunError
from splitnet_tf.graph import logits_model, plain_copy
from splitnet_tf.graph.state import without_settings
from splitnet_tf.grouping import split_losses
from splitnet_tf.grouping.gates import fold_gates
from splitnet_tf.runs.checkpoints import list_checkpoints, read_checkpoint
from splitnet_tf.runs.names import CHECKPOINTS
from splitnet_tf.stages.run_files import model_file
from splitnet_tf.storage.models import load_model

BEFORE = "before"


def load_teacher(
    teacher: str | Path, grouped: keras.Model | None = None, base: Path | None = None
) -> keras.Model:
    """A trained network that returns logits.

    Args:
      teacher: a ``.keras`` file, a run folder, or ``"before"``: the network of ``base`` with the
        best validation accuracy while its groups were learned.
      grouped: grouped model at the end of the run ``base``; it is left as it is.
      base: run folder of the grouping, for ``"before"``.

    Raises:
      ArgumentError: ``"before"`` without a run folder of a grouping.
      RunError: a model that is missing or damaged.
      CheckpointError: the best checkpoint is damaged.
    """
    if str(teacher) != BEFORE:
        return logits_model(load_model(model_file("teacher", Path(teacher))))
    if grouped is None or base is None or not base.is_dir():
        raise ArgumentError(
            "`teacher=before` needs the run folder of a grouping as `base`; give one, or name the "
            "teacher's file."
        )
    return best_before(grouped, base)


def best_before(grouped: keras.Model, folder: Path) -> keras.Model:
    """The plain network of a grouping's run with the best validation accuracy.

    Raises:
      RunError: the run kept no such checkpoint, or one of another model.
      CheckpointError: it is damaged.
    """
    found = list_checkpoints(folder / CHECKPOINTS, "best")
    if not found:
        raise RunError(
            f"Run folder {folder} holds no best checkpoint for `teacher=before`; name another "
            "teacher."
        )
    arrays, state = read_checkpoint(found[-1])
    # A checkpoint begins with the variables of the model that was trained, the grouped one.
    own = [keras.ops.convert_to_numpy(v) for v in without_settings(grouped.variables)]
    shapes = [value.shape for value in own]
    if [array.shape for array in arrays[: len(own)]] != shapes:
        raise RunError(
            f"{found[-1]} is of another model than {folder}; group anew, or name another teacher."
        )
    try:
        _assign(grouped, arrays)
        fold_gates(split_losses(grouped))
        network = plain_copy(grouped)
    finally:
        _assign(grouped, own)
    logging.info("The teacher is the network of step %d of %s.", state["step"], folder)
    return network


def _assign(model: keras.Model, values: Sequence[np.ndarray]) -> None:
    for variable, value in zip(without_settings(model.variables), values, strict=False):
        variable.assign(value)
