"""The training of one row in its folder, over interruptions."""

from __future__ import annotations

import dataclasses
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
from splitnet_tf.json_files import CHECKSUM, read_json, write_json
from splitnet_tf.splitting import recalibrate_batch_norm


@dataclasses.dataclass(frozen=True)
class Work:
    """A row, its recipe and data, and the folder that its files are in."""

    row: Row
    recipe: Recipe
    data: Dataset
    folder: Path

    def own(self, wanted: dict) -> None:
        """Marks the folder as made by certain settings; what others left there goes."""
        try:
            same = read_json(self.folder / "config.json")
            del same[CHECKSUM]
        except (FileNotFoundError, ValueError, KeyError):
            same = None
        if same != wanted:
            for path in sorted(self.folder.rglob("*"), reverse=True):
                path.rmdir() if path.is_dir() else path.unlink()
            write_json(self.folder / "config.json", wanted)

    def fit(self, name: str, model: keras.Model, phase: Phase, seed: int, **more) -> None:
        """Trains through a phase, see ``fit_phase``; averaged weights get their own statistics."""
        start = time.perf_counter()
        fit_phase(
            *(model, phase, self.data.train, self.data.valid, self.folder / name, seed),
            batch_size=self.recipe.batch_size,
            label_smoothing=self.recipe.label_smoothing,
            **more,
        )
        if phase.ema:
            recalibrate_batch_norm(model, self.whitened())
        seconds = {**self.seconds(), name: round(time.perf_counter() - start, 1)}
        write_json(self.folder / "seconds.json", seconds)

    def seconds(self) -> dict[str, float]:
        """Of each phase; of one that was interrupted, of its last part."""
        try:
            found = read_json(self.folder / "seconds.json")
        except (FileNotFoundError, ValueError):
            return {}
        found.pop(CHECKSUM, None)
        return found

    def whitened(self) -> Iterator:
        """Training batches as the network sees them, in a seeded order, to estimate on."""
        train, size = self.data.train, self.recipe.batch_size
        chosen = np.random.default_rng([self.row.seed, 37]).permutation(len(train))
        whiten = Whiten()
        for i in range(max(1, self.recipe.recalibrate)):
            batch = chosen[i * size : (i + 1) * size]
            if len(batch):
                yield whiten(train.images[batch].astype("float32"))
