"""Channels taken out of a symbolic tensor, by slices where they lie together."""

from __future__ import annotations

from typing import Any

import numpy as np
from keras import ops

from splitnet_tf.graph.spaces import Layout


def gather_channels(x: Any, positions: np.ndarray, axis: int) -> Any:
    """Channels at some positions, by rows of the transpose where the channels come last.

    TensorFlow takes single numbers out of the last axis of a map three to six times as slowly.
    """
    rank, positions = len(x.shape), positions.tolist()
    if rank < 3 or axis != rank - 1:
        return ops.take(x, positions, axis=axis)
    rows = ops.take(ops.transpose(x, (axis, *range(axis))), positions, axis=0)
    return ops.transpose(rows, (*range(1, rank), 0))


def take_channels(x: Any, here: np.ndarray, wanted: np.ndarray, layout: Layout) -> Any:
    """Channels ``wanted`` of ``x``, which holds ``here``: slices where they lie together."""
    if np.array_equal(here, wanted):
        return x
    axis = layout.axis
    where = np.empty(int(here.max()) + 1, int)
    where[here] = np.arange(len(here))
    positions = where[wanted]
    breaks = np.flatnonzero(np.diff(positions) != 1) + 1
    runs = np.split(positions, breaks)
    if len(runs) > min(len(layout.spaces), 8):
        return gather_channels(x, positions, axis)
    before = (slice(None),) * axis
    pieces = [x[(*before, slice(int(r[0]), int(r[-1]) + 1))] for r in runs]
    return pieces[0] if len(pieces) == 1 else ops.concatenate(pieces, axis=axis)
