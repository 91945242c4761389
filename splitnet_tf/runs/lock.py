"""The lock of a folder: one process at a time works in it."""

from __future__ import annotations

import fcntl
from pathlib import Path
from typing import TextIO

from splitnet_tf.errors import RunError
from splitnet_tf.runs.names import LOCK


def lock(folder: Path, argument: str = "run") -> TextIO:
    """Makes a folder and keeps it to this process until the file that it returns is closed.

    Args:
      folder: path, made with its parents where it is not there.
      argument: name of the argument that chooses the folder, for the error.

    Raises:
      RunError: the folder cannot be written, or another process has it.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        file = open(folder / LOCK, "w")  # noqa: SIM115
    except OSError as error:
        raise RunError(f"Run folder {folder} cannot be written: {error.strerror}.") from None
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        file.close()
        raise RunError(
            f"Run folder {folder} is in use by another run; wait for it or choose another "
            f"`{argument}`."
        ) from None
    return file
