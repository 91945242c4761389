"""The training of one row in its folder, over interruptions."""

from __future__ import annotations

import contextlib
import dataclasses
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import keras
import numpy as np

from experiments.recipe import Recipe
from experiments.row import Row
from splitnet_tf import fitting
from splitnet_tf.data import Dataset
from splitnet_tf.errors import TrainingError
from splitnet_tf.fitting import calibration_batches
from splitnet_tf.fitting.fit_phase import PROGRESS
from splitnet_tf.recipe import Phase, recalibrate_batch_norm
from splitnet_tf.recipe.preprocessing import WHITEN
from splitnet_tf.runs.lock import lock
from splitnet_tf.stages.preprocessing import notes_of
from splitnet_tf.storage.atomic import remove_leftovers
from splitnet_tf.storage.json_files import read_json, write_json
from splitnet_tf.storage.models import load_model, save_model

RECALIBRATE = 100  # batches for averaged weights, where a cut gets none


@dataclasses.dataclass(frozen=True)
class Work:
    """A row, what it is trained with, and where.

    Attributes:
      row: the row.
      recipe: recipe of the network, as it is trained.
      data: data set to train on.
      wanted: the row's ``settings``.
      folder: folder of its files.
      engine: trains and measures, with ``fit_phase`` and ``Accuracy`` as ``splitnet_tf.fitting``.
    """

    row: Row
    recipe: Recipe
    data: Dataset
    wanted: dict
    folder: Path
    engine: Any = fitting

    @contextlib.contextmanager
    def own(self) -> Iterator[None]:
        """Keeps the folder to this process, with the settings in it.

        Raises:
          RunError: another process has it.
        """
        with lock(self.folder, "runs"):
            remove_leftovers(self.folder)
            write_json(self.folder / "config.json", {**self.wanted, "data": self.data.name})
            yield

    def seed(self, name: str) -> int:
        """Seed of a phase: each has orders and windows of its own, alike in all rows."""
        return int(
            np.random.SeedSequence([self.row.seed, *name.encode()]).generate_state(1)[0] >> 1
        )

    def trained(
        self, name: str, model: keras.Model, phase: Phase, file: str, **more
    ) -> keras.Model:
        """The model of a file after a phase; trains ``model`` and saves it if it is not there.

        Averaged weights get batch-norm statistics of their own.

        Args:
          name: name of the phase and its folder.
          model: model to train.
          phase: how it is trained.
          file: name of the file in the row's folder.
          more: arguments of the engine.

        Raises:
          TrainingError: the loss or the weights are not finite.
        """
        path = self.folder / file
        if path.exists():
            return load_model(path)
        start = time.perf_counter()
        self.engine.fit_phase(
            *(model, phase, self.data.train, self.data.valid, self.folder / name, self.seed(name)),
            batch_size=self.recipe.batch_size,
            preprocessing=WHITEN,
            augment=self.recipe.augment,
            **more,
        )
        if not all(np.isfinite(keras.ops.convert_to_numpy(w)).all() for w in model.weights):
            raise TrainingError(
                f"The weights are not finite after the phase '{name}'; lower its learning rate."
            )
        if phase.ema:
            self.recalibrate(model)
        seconds = {**self.seconds(), name: round(time.perf_counter() - start, 1)}
        write_json(self.folder / "seconds.json", seconds)
        save_model(model, path, notes_of(WHITEN))
        (self.folder / name / PROGRESS).unlink(missing_ok=True)
        return model

    def seconds(self) -> dict[str, float]:
        """Seconds of each phase; after an interruption, of the last session only."""
        try:
            return read_json(self.folder / "seconds.json")
        except (FileNotFoundError, ValueError):
            return {}

    def recalibrate(self, model: keras.Model) -> None:
        """Re-estimates a model's batch norms on training images."""
        count = self.recipe.recalibrate or RECALIBRATE
        batches = (self.data.train, self.recipe.batch_size, count, self.row.seed)
        recalibrate_batch_norm(model, calibration_batches(*batches, preprocessing=WHITEN))
