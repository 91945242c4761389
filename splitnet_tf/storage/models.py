"""Saving and loading Keras models: whole files only, checked files only."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import keras

from splitnet_tf.errors import RunError
from splitnet_tf.storage.keras_files import check_model_file, read_notes, write_notes


def save_model(
    model: keras.Model, path: str | Path, notes: Mapping[str, Any] | None = None
) -> None:
    """Saves a ``.keras`` file beside ``path`` and renames it.

    Args:
      model: to save.
      path: file that ends in ``.keras``; missing folders are made.
      notes: facts about the model that go with it, such as the preprocessing of its inputs; see
        ``model_notes``. Defaults to none.

    Raises:
      RunError: it cannot be written.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.stem}.{os.getpid()}.keras")
    try:
        model.save(beside)
        if notes:
            write_notes(beside, notes)
        with open(beside, "rb") as file:
            os.fsync(file.fileno())
        os.replace(beside, path)
    except OSError as error:
        raise RunError(f"Model file {path} cannot be written: {error.strerror}.") from None
    finally:
        beside.unlink(missing_ok=True)


def model_notes(path: str | Path) -> dict[str, Any]:
    """Notes that ``save_model`` put into a model file; none of a file without.

    Raises:
      RunError: it cannot be read, or the notes are damaged.
    """
    try:
        return read_notes(Path(path))
    except OSError as error:
        raise RunError(f"Model file {path} cannot be read: {error.strerror}.") from None
    except ValueError as error:
        raise RunError(f"Model file {path} is refused: {error}.") from None


def load_model(path: str | Path, custom_objects: Mapping[str, Any] | None = None) -> keras.Model:
    """Loads a ``.keras`` file that holds a model and nothing else, in Keras' safe mode.

    Before Keras sees the file it is checked by ``check_model_file``: no Lambda or other code, no
    class or function but Keras' and this package's, no weights from other files, nothing that
    unpacks to much more than it is.

    Args:
      path: file that ends in ``.keras``.
      custom_objects: registered classes and functions of your own that the file may name, as
        ``keras.saving.get_custom_objects()`` has them. Defaults to none.

    Raises:
      RunError: missing, damaged, not a ``.keras`` file, or holding what is refused.
    """
    path = Path(path)
    if path.suffix != ".keras":
        how = "load it with Keras and save it as .keras"
        if (path / "saved_model.pb").is_file():
            how = "a SavedModel keeps no layers: save the model that it was made of as .keras"
        raise RunError(f"Model file {path} must be a .keras file; {how}.")
    if not path.is_file():
        raise RunError(f"Model file {path} does not exist.")
    try:
        check_model_file(path, custom_objects)
    except OSError as error:
        raise RunError(f"Model file {path} cannot be read: {error.strerror}.") from None
    except ValueError as error:
        raise RunError(f"Model file {path} is refused: {error}.") from None
    try:
        model = keras.models.load_model(
            path, custom_objects=custom_objects, compile=False, safe_mode=True
        )
    except Exception as error:  # Keras raises many kinds for a damaged or hostile file
        reason = str(error).strip().splitlines()[0] if str(error).strip() else ""
        raise RunError(
            f"Model file {path} cannot be loaded ({type(error).__name__}: {reason[:160]}); it is "
            "damaged or holds what safe mode refuses."
        ) from None
    if not isinstance(model, keras.Model):
        raise RunError(
            f"Model file {path} is refused: it holds a {type(model).__name__}, no model."
        )
    return model
