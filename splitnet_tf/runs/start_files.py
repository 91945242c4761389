"""Files that a run starts from: none may lie in its run folder, which would overwrite them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from splitnet_tf.errors import ArgumentError
from splitnet_tf.runs.names import RESULTS


def check_start_files(run: str, base: str | None = None, **files: str | None) -> None:
    """Looks at the files and folders that a run starts from, through symbolic links too.

    Args:
      run: path of the run folder.
      base: a file or a run folder, or None.
      **files: by the argument's name; what names no file, such as ``model="mlp"``, is passed over.

    Raises:
      ArgumentError: one lies in the run folder, or is that folder.
    """
    folder = os.path.realpath(run)
    for name, value in {"base": base, **files}.items():
        if not value or not (os.path.isfile(value) or name == "base"):
            continue
        if any(Path(place).is_relative_to(folder) for place in _places(value)):
            raise ArgumentError(
                f"`{name}={value}` lies in `run={run}`, where this run would remove or overwrite "
                "it; choose another `run`."
            )


def _places(value: str) -> Iterator[str]:
    """Yields the places of a file or folder, of its name, and of a folder's files."""
    head, tail = os.path.split(value)
    yield os.path.realpath(value)
    yield os.path.join(os.path.realpath(head), tail)
    if os.path.isdir(value):
        yield from (os.path.realpath(os.path.join(value, name)) for name in RESULTS)
