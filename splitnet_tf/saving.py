"""Saving and loading Keras models: whole files only, in Keras' safe mode only."""

from __future__ import annotations

import os
from pathlib import Path

import keras

from splitnet_tf.errors import RunError


def save_model(model: keras.Model, path: str | Path) -> None:
    """Saves a ``.keras`` file beside ``path`` and renames it."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.stem}.{os.getpid()}.keras")
    try:
        model.save(beside)
        os.replace(beside, path)
    except OSError as error:
        raise RunError(f"Model file {path} cannot be written: {error.strerror}.") from None
    finally:
        beside.unlink(missing_ok=True)


def load_model(path: str | Path) -> keras.Model:
    """Loads a ``.keras`` file in safe mode: no Lambda, no code from the file.

    Raises:
      RunError: missing, damaged, not a ``.keras`` file, or holding what safe mode refuses.
    """
    path = Path(path)
    if path.suffix != ".keras":
        raise RunError(f"Model file {path} must be a .keras file; other formats are not loaded.")
    if not path.is_file():
        raise RunError(f"Model file {path} does not exist.")
    try:
        return keras.models.load_model(path, compile=False, safe_mode=True)
    except Exception as error:  # Keras raises many kinds for a damaged or hostile file
        reason = str(error).strip().splitlines()[0] if str(error).strip() else ""
        raise RunError(
            f"Model file {path} cannot be loaded ({type(error).__name__}: {reason[:160]}); it is "
            "damaged or holds what safe mode refuses."
        ) from None
