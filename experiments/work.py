"""The training of one row in its folder, over interruptions."""

from __future__ import annotations

import contextlib
import dataclasses
import fcntl
import hashlib
import time
from collections.abc import Iterator
from pathlib import Path

import keras
import numpy as np

from experiments.fitting import fit_phase
from experiments.preprocessing import Whiten
from experiments.recipe import Phase, Recipe
from experiments.row import Row
from splitnet_tf.data import Dataset
from splitnet_tf.errors import RunError
from splitnet_tf.json_files import read_json, write_json
from splitnet_tf.splitting import recalibrate_batch_norm

LOCK = "run.lock"


def digest_data(data: Dataset) -> str:
    """SHA-256 of all images and labels."""
    found = hashlib.sha256()
    for split in (data.train, data.valid, data.test):
        found.update(np.ascontiguousarray(split.images))
        found.update(np.ascontiguousarray(split.labels, "int64"))
    return found.hexdigest()


@dataclasses.dataclass(frozen=True)
class Work:
    """A row, its recipe and data, and the folder that its files are in."""

    row: Row
    recipe: Recipe
    data: Dataset
    folder: Path

    @contextlib.contextmanager
    def own(self, wanted: dict) -> Iterator[None]:
        """Keeps the folder to this process; what other settings left in it goes.

        Raises:
          RunError: another process has it.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        lock = self.folder / LOCK
        with open(lock, "w") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                raise RunError(
                    f"Folder {self.folder} is in use by another run; wait for it or choose other "
                    "--runs."
                ) from None
            try:
                same = read_json(self.folder / "config.json")
            except (FileNotFoundError, ValueError):
                same = None
            if same != wanted:
                for path in sorted(self.folder.rglob("*"), reverse=True):
                    if path != lock:
                        path.rmdir() if path.is_dir() else path.unlink()
                write_json(self.folder / "config.json", wanted)
            yield

    def seed(self, name: str) -> int:
        """Of a phase: each sees the data in orders and windows of its own, alike in all rows."""
        return int(
            np.random.SeedSequence([self.row.seed, *name.encode()]).generate_state(1)[0] >> 1
        )

    def fit(self, name: str, model: keras.Model, phase: Phase, **more) -> None:
        """Trains through a phase, see ``fit_phase``; averaged weights get their own statistics."""
        start = time.perf_counter()
        fit_phase(
            *(model, phase, self.data.train, self.data.valid, self.folder / name, self.seed(name)),
            batch_size=self.recipe.batch_size,
            label_smoothing=self.recipe.label_smoothing,
            nesterov=self.recipe.nesterov,
            **more,
        )
        if phase.ema:
            recalibrate_batch_norm(model, self.whitened())
        seconds = {**self.seconds(), name: round(time.perf_counter() - start, 1)}
        write_json(self.folder / "seconds.json", seconds)

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
        whiten = Whiten()
        for i in range(max(1, self.recipe.recalibrate)):
            batch = chosen[i * size : (i + 1) * size]
            if len(batch):
                yield whiten(train.images[batch].astype("float32"))
