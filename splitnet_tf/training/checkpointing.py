"""Checkpoints of the loop: variables, its state, and that of hooks and patience."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras

from splitnet_tf.errors import CheckpointError
from splitnet_tf.runs.checkpoints import (
    list_checkpoints,
    prune_checkpoints,
    restore_newest,
    save_checkpoint,
)
from splitnet_tf.training.hooks import Hooks
from splitnet_tf.training.state import TrainState
from splitnet_tf.training.stopping import Patience
from splitnet_tf.training.versions import versions


class Checkpoints:
    """Saves where training stands, and goes back to it.

    Args:
      folder: of the checkpoints.
      keep: int, checkpoints kept besides the best.
      variables: everything that training changes, always in the same order.
      hooks, patience: their state is saved and restored as well.
    """

    def __init__(
        self,
        folder: Path,
        keep: int,
        variables: Sequence[keras.Variable],
        hooks: Hooks,
        patience: Patience,
    ):
        self._folder = folder
        self._keep = keep
        self._variables = variables
        self._hooks = hooks
        self._patience = patience

    def save(self, state: TrainState, marks: dict[str, Any], kind: str = "step") -> Path:
        """Writes a checkpoint and removes what is no longer kept.

        Args:
          state: of the training.
          marks: of its logs.
          kind: ``"step"`` or ``"best"``.

        Raises:
          CheckpointError: it cannot be written.
        """
        document = {
            **dataclasses.asdict(state),
            "logs": marks,
            "versions": versions(),
            "patience": self._patience.state,
            "hooks": self._hooks.state,
        }
        path = save_checkpoint(self._folder, kind, state.step, self._variables, document)
        prune_checkpoints(self._folder, self._keep, path)
        return path

    def restore(self) -> tuple[TrainState, dict[str, Any]] | None:
        """Restores the newest checkpoint; the state and the marks of its logs, None without one.

        Raises:
          CheckpointError: of another model, or every checkpoint is damaged.
        """
        document, path = restore_newest(self._folder, "step", self._variables)
        if document is None:
            return None
        if document.get("versions") not in (None, versions()):
            logging.warning(
                "%s was written by %s, this is %s: the run goes on, but not bit for bit.",
                path,
                document["versions"],
                versions(),
            )
        self._patience.state = document["patience"]
        # Before there were hooks a checkpoint had the state of one, of the groups' convergence.
        self._hooks.restore(document.get("hooks", {}), document.get("converged"))
        state = TrainState.of(document)
        for later in list_checkpoints(self._folder, "best", after=state.step):
            later.unlink()  # of what is about to be repeated
        logging.info("resumed from %s at step %d", path, state.step)
        return state, document["logs"]

    def restore_best(self, step: int) -> bool:
        """Restores the variables of the best checkpoint; True if it did, else a warning says why.

        Args:
          step: when the best was; an earlier checkpoint is not taken.
        """
        try:
            document, _ = restore_newest(self._folder, "best", self._variables, step - 1)
        except CheckpointError as error:
            logging.warning("%s The last weights are used, not the best.", error)
            return False
        if document is None:
            logging.warning(
                "%s holds no checkpoint of the best step; the last weights are used.", self._folder
            )
        return document is not None
