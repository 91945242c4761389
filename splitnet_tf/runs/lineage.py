"""Model that a split or a shrink was made of: its digest, and places to look for it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import keras
import numpy as np

from splitnet_tf.errors import RunError
from splitnet_tf.graph.state import without_settings
from splitnet_tf.runs.names import GROUPING, SELECTION, SMALLER
from splitnet_tf.runs.run_folder import read_config
from splitnet_tf.storage.digests import digest
from splitnet_tf.storage.json_files import parse_json
from splitnet_tf.storage.models import load_model

# A layer that others share is called after the first of them while it is new, by itself once it is
# loaded: conv/space_a/logits, and then space_a/logits.
_NESTED = re.compile(r"^[^/]+/(?=(space_[^/]*|split_losses)/[^/]+$)")


def base_digest(base: keras.Model, cut: str) -> str:
    """Digests everything that a tree or a smaller model is made of.

    Args:
      base: model that is cut.
      cut: text of its grouping or selection file.
    """

    def parts() -> Iterator[str | np.ndarray]:
        yield cut
        for weight in without_settings(base.weights):
            yield f"{_NESTED.sub('', weight.path)} {weight.shape}"
            yield keras.ops.convert_to_numpy(weight)

    return digest(parts())


def base_places(folder: Path, base: Path) -> Iterator[Path]:
    """Yields places where the model of a run folder may be, as either may have been moved.

    The places are seen from above the run folder, beside it, and from here, where another run may
    have the same name.

    Args:
      folder: the run folder.
      base: path of the model, as the run was given it.
    """
    folder = folder.resolve()
    if base.is_absolute():
        yield base
    else:
        yield from (above / base for above in folder.parents)
    yield folder.parent / base.name
    if not base.is_absolute():
        yield base


def is_shrink(folder: Path) -> bool:
    """True for a run folder that holds a smaller model."""
    return any((folder / name).is_file() for name in SMALLER)


def may_be_base(folder: Path, file: Path) -> bool:
    """Returns True when the split or shrink in a run folder may have been made of a model file.

    The digests decide; where one is missing or damaged the answer is True.
    """
    try:
        wanted = read_config(folder).get("base_digest")
        if wanted is None:
            return True
        cut = (folder / (SELECTION if is_shrink(folder) else GROUPING)).read_text(encoding="utf-8")
        parse_json(cut)  # its checksum
        return wanted == base_digest(load_model(file), cut)
    except (RunError, ValueError, OSError):
        return True
