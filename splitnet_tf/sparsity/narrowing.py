"""Kernels narrowed to the columns in use: cropped windows, inputs of dense layers taken."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np
from keras import layers, ops

from splitnet_tf.graph.trace import Trace
from splitnet_tf.sparsity.columns import live_columns
from splitnet_tf.sparsity.removal import Remains
from splitnet_tf.sparsity.weight_axes import layers_of
from splitnet_tf.sparsity.windows import Window, windows_of


@dataclasses.dataclass(frozen=True)
class Crop:
    """A window cropped to a box, and zeros or places of the input that make up for it.

    Attributes:
      box: (low, high) of each axis: the positions of the window that stay.
      padding: ``"valid"`` or ``"same"`` of the smaller convolution.
      fit: (before, after) of each axis: zeros to add to the input, places to take away where
        negative; all 0 with ``"same"``.
    """

    box: tuple[tuple[int, int], ...]
    padding: str
    fit: tuple[tuple[int, int], ...]

    @property
    def settings(self) -> dict[str, Any]:
        """Settings in which the smaller layer differs."""
        return {"kernel_size": [high - low for low, high in self.box], "padding": self.padding}

    def shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """Shape of the smaller kernel."""
        return (*(high - low for low, high in self.box), *shape[len(self.box) :])

    def kernel(self, kernel: np.ndarray) -> np.ndarray:
        """The smaller kernel."""
        return kernel[tuple(slice(low, high) for low, high in self.box)]

    def input(self, x: Any, name: str) -> Any:
        """The input that the smaller layer reads, through stock layers called ``name``."""
        rank = len(self.fit)
        add = tuple((max(a, 0), max(b, 0)) for a, b in self.fit)
        cut = tuple((max(-a, 0), max(-b, 0)) for a, b in self.fit)
        for amounts, kind in ((add, "ZeroPadding"), (cut, "Cropping")):
            if any(a or b for a, b in amounts):
                layer = getattr(layers, f"{kind}{rank}D")
                amounts = amounts[0] if rank == 1 else amounts
                x = layer(amounts, name=f"{name}_{kind.lower()}")(x)
        return x


@dataclasses.dataclass(frozen=True)
class Take:
    """Inputs of a dense layer that are taken out of all.

    Attributes:
      indices: places among the channels that stay, ascending ints.
    """

    indices: tuple[int, ...]
    settings = {}

    def shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """Shape of the smaller kernel."""
        return len(self.indices), shape[1]

    def kernel(self, kernel: np.ndarray) -> np.ndarray:
        """The smaller kernel."""
        return kernel[list(self.indices)]

    def input(self, x: Any, name: str) -> Any:
        """The inputs that the smaller layer reads."""
        return ops.take(x, list(self.indices), axis=-1)


@dataclasses.dataclass(frozen=True)
class Gather:
    """Columns of a convolution put side by side, which a convolution of one position then reads.

    Attributes:
      windows: axes of the window.
      columns: for each position in use (an int for each axis) the channels in use there, ascending
        places among those that stay.
    """

    windows: tuple[Window, ...]
    columns: tuple[tuple[tuple[int, ...], tuple[int, ...]], ...]

    @property
    def settings(self) -> dict[str, Any]:
        """Settings in which the smaller layer differs."""
        ones = [1] * len(self.windows)
        return {"kernel_size": ones, "strides": ones, "dilation_rate": ones, "padding": "valid"}

    def shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """Shape of the smaller kernel."""
        count = sum(len(channels) for _, channels in self.columns)
        return (*[1] * len(self.windows), count, shape[-1])

    def kernel(self, kernel: np.ndarray) -> np.ndarray:
        """The smaller kernel."""
        rows = [kernel[place][list(channels)] for place, channels in self.columns]
        return np.concatenate(rows).reshape(self.shape(kernel.shape))

    def input(self, x: Any, name: str) -> Any:
        """The columns that the smaller layer reads, through stock layers and operations."""
        pads = tuple(window.pads() for window in self.windows)
        if any(a or b for a, b in pads):
            layer = getattr(layers, f"ZeroPadding{len(pads)}D")
            x = layer(pads[0] if len(pads) == 1 else pads, name=f"{name}_zeropadding")(x)
        pieces = []
        for place, channels in self.columns:
            where = (w.places_of(p) for w, p in zip(self.windows, place, strict=True))
            piece = x[(slice(None), *where)]
            every = len(channels) == x.shape[-1]
            pieces.append(piece if every else ops.take(piece, list(channels), axis=-1))
        return pieces[0] if len(pieces) == 1 else ops.concatenate(pieces, axis=-1)


Narrowing = Crop | Take | Gather


def narrowings(
    traced: Trace, remains: Remains, given: Mapping[str, np.ndarray] | None, gather: bool
) -> tuple[dict[str, Narrowing], list[str]]:
    """Finds how the kernels that stay can be narrowed, by their zero columns.

    Args:
      traced, remains: of the model.
      given: bool (columns,) by layer, columns that stay in any case; all of those of layers that
        it lacks. None gives up every zero column.
      gather: bool, whether columns in use that are no box are gathered.

    Returns:
      The narrowing of each layer that has one; sentences on what was given up and stays.
    """
    found, left, shared, calls = {}, [], _shared(traced), layers_of(traced)
    for name, (used, _) in live_columns(traced, remains).items():
        call = calls[name]
        read = remains.alive(traced, call.inputs[0])
        if given is not None:
            kept = given.get(name, np.ones_like(used))
            if name in given and (more := int((used & ~kept).sum())):
                left.append(f"layer '{name}': {more} columns stay: their weights are not zero")
            used = used | (kept & np.tile(read, len(used) // len(read)))
        windows = windows_of(traced, call)
        if not windows:
            if gather and used.any() and not used[read].all():
                found[name] = Take(tuple(np.flatnonzero(used[read]).tolist()))
            continue
        used = used.reshape(*(w.size for w in windows), len(read))
        box = _box(used.any(axis=-1))
        inside = used[tuple(slice(low, high) for low, high in box)][..., read]
        mixes = call.name in traced.kernels  # each filter reads every column
        sparse = gather and mixes and used.any() and not inside.all()
        full = all(high - low == w.size for (low, high), w in zip(box, windows, strict=True))
        if full and not sparse:
            continue
        crop = _crop(windows, box)
        why = (
            "it is used in several places"
            if id(call.op) in shared
            else "its channels come first"
            if traced.layouts[call.inputs[0]].axis != len(windows) + 1
            else "the padding depends on the size of the input"
            if crop is None or (sparse and None in [w.length for w in windows])
            else None
        )
        if why is not None:
            left.append(f"layer '{name}': its window is not cropped: {why}")
        elif sparse:
            found[name] = Gather(windows, _columns(used[..., read]))
        elif not full:
            found[name] = crop
    return found, left


def _shared(traced: Trace) -> set[int]:
    seen, twice = set(), set()
    for call in traced.graph.calls:
        (twice if id(call.op) in seen else seen).add(id(call.op))
    return twice


def _columns(used: np.ndarray) -> tuple[tuple[tuple[int, ...], tuple[int, ...]], ...]:
    """Lists the positions with a column in use, each with its channels in use."""
    places = np.argwhere(used.any(axis=-1)).tolist()
    return tuple((tuple(p), tuple(np.flatnonzero(used[tuple(p)]).tolist())) for p in places)


def _box(used: np.ndarray) -> tuple[tuple[int, int], ...]:
    """The smallest box around what is used; the middle of the window where nothing is."""
    if not used.any():
        return tuple((n // 2, n // 2 + 1) for n in used.shape)
    places = np.argwhere(used)
    return tuple(zip(places.min(axis=0).tolist(), (places.max(axis=0) + 1).tolist(), strict=True))


def _crop(windows: tuple[Window, ...], box) -> Crop | None:
    parts = [w.cropped(low, high) for w, (low, high) in zip(windows, box, strict=True)]
    if None in parts:
        return None
    fit = tuple(amounts for _, amounts in parts)
    same = [dataclasses.replace(window, padding="same").pads() for window, _ in parts]
    if any(a or b for a, b in fit) and fit == tuple(same):
        return Crop(tuple(box), "same", ((0, 0),) * len(box))
    return Crop(tuple(box), "valid", fit)
