"""Refusal of start files in the run folder, where the run would remove them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from absl import flags

from splitnet_tf.runs.names import RESULTS

FLAGS = flags.FLAGS


def check_start_files(*names: str) -> None:
    """Checks the files and folders that flags name, through symbolic links too.

    Args:
      *names: names of flags. A value that is not a file, such as ``mlp``, is passed over; only
        ``basemodel`` may be a folder.

    Raises:
      flags.Error: one lies in ``--train_dir``, or is that folder.
    """
    folder = os.path.realpath(FLAGS.train_dir)
    for name in names:
        value = FLAGS[name].value
        if not value or not (os.path.isfile(value) or name == "basemodel"):
            continue
        if any(Path(place).is_relative_to(folder) for place in _places(value)):
            raise flags.Error(
                f"--{name}={value} lies in --train_dir={FLAGS.train_dir}, where this run would "
                "remove or overwrite it; choose another --train_dir."
            )


def _places(value: str) -> Iterator[str]:
    """Yields the places of a file or folder, of its name, and of a folder's files."""
    head, tail = os.path.split(value)
    yield os.path.realpath(value)
    yield os.path.join(os.path.realpath(head), tail)
    if os.path.isdir(value):
        yield from (os.path.realpath(os.path.join(value, name)) for name in RESULTS)
