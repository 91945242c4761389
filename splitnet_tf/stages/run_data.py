"""Data that a run was made with, found again though the run or the data may have been moved."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from splitnet_tf.data import Dataset, load_dataset
from splitnet_tf.errors import RunError
from splitnet_tf.runs import base_places, read_config
from splitnet_tf.runs.names import CONFIG


def settings_of(folder: Path | None) -> dict[str, Any]:
    """Settings of a run folder; none where it has none."""
    return read_config(folder) if folder and (folder / CONFIG).is_file() else {}


def data_file(folder: Path, file: str) -> str:
    """The path of a run's data file, as either it or the run may have been moved."""
    return str(next((p for p in base_places(folder, Path(file)) if p.is_file()), file))


def is_other(folder: Path, name: str, dataset: Dataset) -> bool:
    """True when a data file holds something else than the run in a folder was trained on."""
    wanted = settings_of(folder).get("data_digest")
    return wanted is not None and name.endswith(".npz") and wanted != dataset.digest()


def run_dataset(folder: Path) -> Dataset | None:
    """The data set of a run by its program; None for a folder that names none.

    Raises:
      DataError, RunError: it cannot be read, or is another than the run was trained on.
    """
    config = settings_of(folder)
    name = config.get("dataset")
    if not isinstance(name, str):
        return None
    if name.endswith(".npz"):
        name = data_file(folder, name)
    dataset = load_dataset(name, config.get("data_dir"), config.get("seed") or 0)
    if is_other(folder, name, dataset):
        raise RunError(f"{name} holds other data than {folder} was trained on")
    return dataset
