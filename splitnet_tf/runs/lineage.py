"""What a split was made of: its digest, and where to look for it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import keras
import numpy as np

from splitnet_tf.errors import RunError
from splitnet_tf.runs.names import GROUPING
from splitnet_tf.runs.run_folder import read_config
from splitnet_tf.storage.digests import digest
from splitnet_tf.storage.json_files import parse_json
from splitnet_tf.storage.models import load_model


def base_digest(base: keras.Model, cut: str) -> str:
    """The digest of all that a tree or a smaller model is made of.

    Args:
      base: the model that is cut.
      cut: the text of its grouping file.
    """

    def parts() -> Iterator[str | np.ndarray]:
        yield cut
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
        cut = (folder / GROUPING).read_text(encoding="utf-8")
        parse_json(cut)  # its checksum
        return wanted == base_digest(load_model(file), cut)
    except (RunError, ValueError, OSError):
        return True
