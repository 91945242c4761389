"""Digests of what a run starts from: its files may not change under it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

import keras
import numpy as np

from splitnet_tf.grouping import Grouping


def digest_arrays(arrays: Iterable[np.ndarray]) -> str:
    """Of some arrays, 16 digits."""
    return _digest(part for a in arrays for part in (f"{a.shape} {a.dtype}", a))


def digest_base(base: keras.Model, grouping: Grouping) -> str:
    """Of all that a tree is made of, 16 digits: the base model's variables and the grouping."""

    def parts():
        yield grouping.to_json()
        for weight in base.weights:
            yield f"{weight.path} {weight.shape}"
            yield keras.ops.convert_to_numpy(weight)

    return _digest(parts())


def _digest(parts: Iterable[str | np.ndarray]) -> str:
    found = hashlib.sha256()
    for part in parts:
        text = isinstance(part, str)
        found.update(part.encode() if text else np.ascontiguousarray(part).tobytes())
    return found.hexdigest()[:16]
