"""Digests of what a run starts from: it may not change under the run."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

import numpy as np


def digest_arrays(arrays: Iterable[np.ndarray]) -> str:
    """Of some arrays with their shapes and dtypes, 16 digits."""
    return digest(part for a in arrays for part in (f"{a.shape} {a.dtype}", a))


def digest(parts: Iterable[str | np.ndarray]) -> str:
    """Of texts and of the bytes of arrays, 16 digits of SHA-256."""
    found = hashlib.sha256()
    for part in parts:
        text = isinstance(part, str)
        found.update(part.encode() if text else np.ascontiguousarray(part).tobytes())
    return found.hexdigest()[:16]
