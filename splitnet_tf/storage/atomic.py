"""Writing files so that a reader finds the old content or the new, never half of it."""

from __future__ import annotations

import os
import re
from pathlib import Path

_LEFTOVER = re.compile(r"\..+\.\d+\.(tmp|keras)")


def write_atomically(path: str | Path, content: bytes) -> None:
    """Writes ``content`` beside ``path``, flushes it to disk and renames it over ``path``.

    Args:
      path: file to write; missing folders are made.
      content: bytes of the file.

    Raises:
      OSError: it cannot be written.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with open(beside, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(beside, path)
        _flush_folder(path.parent)
    finally:
        beside.unlink(missing_ok=True)


def remove_leftovers(folder: Path) -> None:
    """Removes files that writers killed at work left in ``folder``; nobody else may be writing."""
    for path in folder.iterdir() if folder.is_dir() else ():
        if _LEFTOVER.fullmatch(path.name):
            path.unlink(missing_ok=True)


def _flush_folder(folder: Path) -> None:
    """Makes a rename outlast a power failure, where the file system can."""
    try:
        handle = os.open(folder, os.O_RDONLY)
    except OSError:
        return
    try:
        os.fsync(handle)
    except OSError:
        pass
    finally:
        os.close(handle)
