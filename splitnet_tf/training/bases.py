"""What a split was made of: its digest, and where to look for it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import keras
import numpy as np

from splitnet_tf.digests import digest
from splitnet_tf.errors import GroupingError, RunError
from splitnet_tf.grouping import Grouping
from splitnet_tf.saving import load_model
from splitnet_tf.training.run_directory import read_config


def base_digest(base: keras.Model, grouping: Grouping) -> str:
    """Of all that a tree is made of."""

    def parts() -> Iterator[str | np.ndarray]:
        yield grouping.to_json()
        for weight in base.weights:
            yield f"{weight.path} {weight.shape}"
            yield keras.ops.convert_to_numpy(weight)

    return digest(parts())


def base_places(folder: Path, base: Path) -> Iterator[Path]:
    """Where the ``--basemodel`` of a run folder may be, now that one may have been moved.

    Seen from above the run folder, beside it, and as it was given, which from another folder is
    the place of another run.
    """
    folder = folder.resolve()
    if base.is_absolute():
        yield base
    else:
        yield from (above / base for above in folder.parents)
    yield folder.parent / base.name
    if not base.is_absolute():
        yield base


def may_be_base(folder: Path, file: Path) -> bool:
    """Whether the split in a run folder may have been made of a model file.

    By the digest; True where there is none to compare, as something is missing or damaged.
    """
    try:
        wanted = read_config(folder).get("base_digest")
        if wanted is None:
            return True
        return wanted == base_digest(load_model(file), Grouping.load(folder / "grouping.json"))
    except (RunError, GroupingError, OSError):
        return True
