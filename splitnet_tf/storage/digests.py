"""Digests of the data and weights that a run starts from, which may not change under it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

import numpy as np


def digest_arrays(arrays: Iterable[np.ndarray]) -> str:
    """Digests arrays with their shapes and dtypes, as ``digest``."""
    return digest(part for a in arrays for part in (f"{a.shape} {a.dtype}", a))


def digest(parts: Iterable[str | np.ndarray]) -> str:
    """Digests texts and the bytes of arrays: the first 16 digits of their SHA-256."""
    found = hashlib.sha256()
    for part in parts:
        text = isinstance(part, str)
        found.update(part.encode() if text else np.ascontiguousarray(part).tobytes())
    return found.hexdigest()[:16]
