"""The training of one row in its folder, over interruptions."""

from __future__ import annotations

import contextlib
import dataclasses
import fcntl
import time
from collections.abc import Iterator
from pathlib import Path

import keras
import numpy as np

from experiments.fitting import PROGRESS, fit_phase
from experiments.recipe import Phase, Recipe, recipe_document
from experiments.row import Row
from splitnet_tf.data import Dataset
from splitnet_tf.errors import RunError, TrainingError
from splitnet_tf.recipe import recalibrate_batch_norm
from splitnet_tf.recipe.preprocessing import Whiten
from splitnet_tf.storage.atomic import remove_leftovers
from splitnet_tf.storage.json_files import checksum, read_json, write_json
from splitnet_tf.storage.models import save_model

RECALIBRATE = 100  # batches for averaged weights, where a cut gets none


SETTINGS = ("row", "recipe", "data_digest", "precision", "backend")


def settings(row: Row, recipe: Recipe, data: Dataset) -> dict:
    """All that decides what a row becomes, but for the code."""
    return {
        "row": dataclasses.asdict(row),
        "recipe": recipe_document(recipe),
        "data_digest": data.digest(),
        "precision": keras.config.dtype_policy().name,
        "backend": keras.backend.backend(),
    }


def folder_of(name: str, wanted: dict, folder: Path) -> Path:
    """A folder for each of a name's settings, so that no run takes what another has left."""
    return folder / f"{name}-{checksum(wanted)[:8]}"


@dataclasses.dataclass(frozen=True)
class Work:
    """What belongs together while a row is trained.

    Attributes:
      row: which.
      recipe: of the network, as it is trained.
      data: to train on.
      wanted: its ``settings``.
      folder: of its files.
    """

    row: Row
    recipe: Recipe
    data: Dataset
    wanted: dict
    folder: Path

    @contextlib.contextmanager
    def own(self) -> Iterator[None]:
        """Keeps the folder to this process, with the settings in it.

        Raises:
          RunError: another process has it.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        with open(self.folder / "run.lock", "w") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                raise RunError(
                    f"Folder {self.folder} is in use by another run; wait for it or choose other "
                    "--runs."
                ) from None
            remove_leftovers(self.folder)
            write_json(self.folder / "config.json", {**self.wanted, "data": self.data.name})
            yield

    def seed(self, name: str) -> int:
        """Of a phase: each sees the data in orders and windows of its own, alike in all rows."""
        return int(
            np.random.SeedSequence([self.row.seed, *name.encode()]).generate_state(1)[0] >> 1
        )

    def fit(self, name: str, model: keras.Model, phase: Phase, path: Path, **more) -> None:
        """Trains through a phase, see ``fit_phase``, and saves the model.

        Averaged weights get batch-norm statistics of their own.

        Raises:
          TrainingError: the loss or the weights are not finite.
        """
        start = time.perf_counter()
        fit_phase(
            *(model, phase, self.data.train, self.data.valid, self.folder / name, self.seed(name)),
            batch_size=self.recipe.batch_size,
            label_smoothing=self.recipe.label_smoothing,
            nesterov=self.recipe.nesterov,
            **more,
        )
        if not all(np.isfinite(keras.ops.convert_to_numpy(w)).all() for w in model.weights):
            raise TrainingError(
                f"The weights are not finite after the phase '{name}'; lower its learning rate."
            )
        if phase.ema:
            recalibrate_batch_norm(model, self.whitened())
        seconds = {**self.seconds(), name: round(time.perf_counter() - start, 1)}
        write_json(self.folder / "seconds.json", seconds)
        save_model(model, path)
        (self.folder / name / PROGRESS).unlink(missing_ok=True)

    def seconds(self) -> dict[str, float]:
        """Of each phase; of one that was interrupted, of its last part."""
        try:
            return read_json(self.folder / "seconds.json")
        except (FileNotFoundError, ValueError):
            return {}

    def whitened(self) -> Iterator:
        """Training batches as the network sees them, in a seeded order, to estimate on."""
        train, size = self.data.train, self.recipe.batch_size
        chosen = np.random.default_rng([self.row.seed, 37]).permutation(len(train))
        whiten = Whiten(dtype="float32")
        for i in range(self.recipe.recalibrate or RECALIBRATE):
            batch = chosen[i * size : (i + 1) * size]
            if len(batch):
                yield whiten(train.images[batch].astype("float32"))
