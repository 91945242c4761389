"""A row of a table: its name, its settings and the folder that they lead to."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import keras

from experiments.recipe import WHOLE, Recipe, recipe_document
from splitnet_tf.data import Dataset
from splitnet_tf.storage.json_files import checksum

FAILURES = ("collapsed", "diverged")  # what a row says instead of errors
SETTINGS = ("row", "recipe", "data_digest", "precision", "backend")
# Rows of given groups are made by splitnet-compare; documents say that these are not.
LEARNED = {"grouping": "learned"}


@dataclasses.dataclass(frozen=True)
class Row:
    """One row with one seed.

    Attributes:
      scale: name of its recipe, one of ``recipe.SCALES``.
      split: one of ``recipe.SPLITS``.
      seed: int, seed of weights, order and augmentation.
      variant: setting that a sweep changes, such as ``pace=4``; empty for the recipe as it is.
    """

    scale: str
    split: str
    seed: int = 0
    variant: str = ""

    @property
    def name(self) -> str:
        """Name of the row's folder, but for the checksum of its settings."""
        parts = [self.split]
        parts += [] if self.split in WHOLE else [LEARNED["grouping"]]
        parts += [self.variant] if self.variant else []
        return "-".join((*parts, f"seed{self.seed}"))

    def document(self) -> dict:
        """The row as JSON keeps it."""
        return dataclasses.asdict(self) | LEARNED


def row_of(document: dict) -> Row:
    """The row of a ``Row.document``."""
    return Row(**{name: document[name] for name in document if name not in LEARNED})


def settings(row: Row, recipe: Recipe, data: Dataset) -> dict:
    """All that decides what a row becomes, except for the code."""
    return {
        "row": row.document(),
        "recipe": recipe_document(recipe),
        "data_digest": data.digest(),
        "precision": keras.config.dtype_policy().name,
        "backend": keras.backend.backend(),
    }


def folder_of(name: str, wanted: dict, folder: Path) -> Path:
    """A folder for each of a name's settings, so that no run takes what another has left."""
    return folder / f"{name}-{checksum(wanted)[:8]}"
