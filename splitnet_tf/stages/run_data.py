"""Data that a run was made with, found again though the run or the data may have been moved."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from splitnet_tf.data import PLANTED, Dataset, load_dataset
from splitnet_tf.data.dataset import NAMES
from splitnet_tf.data.folder import holds_pictures
from splitnet_tf.errors import RunError
from splitnet_tf.runs import base_places, read_config
from splitnet_tf.runs.names import CONFIG


def settings_of(folder: Path | None) -> dict[str, Any]:
    """Settings of a run folder; none where it has none."""
    return read_config(folder) if folder and (folder / CONFIG).is_file() else {}


def is_own(name: str) -> bool:
    """True for data that are not made here and may change: a file, a folder, a set by name."""
    return name not in NAMES and not re.fullmatch(PLANTED, name)


def data_file(folder: Path, name: str) -> str:
    """The path of a run's data file or folder, as either it or the run may have been moved."""
    if not is_own(name):
        return name
    places = base_places(folder, Path(name))
    return str(next((p for p in places if p.is_file() or holds_pictures(p)), name))


def is_other(folder: Path, name: str, dataset: Dataset) -> bool:
    """True when data of one's own are others than the run in a folder was trained on."""
    wanted = settings_of(folder).get("data_digest")
    return wanted is not None and is_own(name) and wanted != dataset.digest()


def run_dataset(folder: Path) -> Dataset | None:
    """The data set of a run by its program; None for a folder that names none.

    Raises:
      DataError, RunError: it cannot be read, or is another than the run was trained on.
    """
    config = settings_of(folder)
    name = config.get("dataset")
    if not isinstance(name, str):
        return None
    name = data_file(folder, name)
    how = {key: config.get(key) for key in ("image_size", "validation_share")}
    dataset = load_dataset(name, config.get("data_dir"), config.get("seed") or 0, **how)
    if is_other(folder, name, dataset):
        raise RunError(f"{name} holds other data than {folder} was trained on")
    return dataset
