"""The difference between a model and its shrunk form, layer by layer."""

from __future__ import annotations

import dataclasses
import math
from collections import defaultdict
from typing import Any

import keras
import numpy as np
from keras import layers, ops

from splitnet_tf.graph.calls import Call
from splitnet_tf.graph.kernel_rules import ConvTransposeRule
from splitnet_tf.graph.trace import Trace
from splitnet_tf.sparsity.narrowing import Narrowing
from splitnet_tf.sparsity.removal import UNFOLDED, Remains
from splitnet_tf.sparsity.weight_axes import channel_axes, fixed_spaces, kernels_of, layers_of


def kernel_title(layer: str, kernel: str) -> str:
    """Names a kernel in a table: by its layer, and by its own name where that is not "kernel"."""
    return layer if kernel == "kernel" else f"{layer} ({kernel})"


@dataclasses.dataclass(frozen=True)
class KernelChange:
    """One kernel before and after.

    Attributes:
      layer, kind: str, name and class of the layer.
      kernel: str, name of the variable.
      before: shape (window..., in, out).
      after: shape, None when the layer goes.
      places: int, positions at which the kernel is applied; None where the input's size is unknown.
      zero_filters: int, output channels left in place though all their weights are zero.
      zero_columns: int, columns (window x input channels) left in place though all are zero.
    """

    layer: str
    kind: str
    kernel: str
    before: tuple[int, ...]
    after: tuple[int, ...] | None
    places: int | None
    zero_filters: int = 0
    zero_columns: int = 0

    def weights(self, after: bool) -> int:
        """Weights of the kernel, before or after."""
        shape = self.after if after else self.before
        return 0 if shape is None else math.prod(shape)

    def multiply_adds(self, after: bool) -> int | None:
        """Multiply-adds for one example, before or after; None where they are unknown."""
        return None if self.places is None else self.weights(after) * self.places


@dataclasses.dataclass(frozen=True)
class Changes:
    """Changes that a shrink makes.

    Attributes:
      kernels: ``KernelChange`` of every kernel, in the model's order.
      left: sentences on what was given up, or is zero, and stays all the same.

    ``print(changes)`` is a table.
    """

    kernels: tuple[KernelChange, ...]
    left: tuple[str, ...] = ()

    def total(self, what: str, after: bool) -> int | None:
        """Sum over the kernels of ``"weights"`` or ``"multiply_adds"``; None where unknown."""
        values = [getattr(k, what)(after) for k in self.kernels]
        return None if None in values else sum(values)

    def totals(self, what: str) -> tuple[int, int] | None:
        """Sums before and after, see ``total``; None where they are unknown."""
        found = self.total(what, False), self.total(what, True)
        return None if None in found else found

    def to_json(self) -> dict[str, Any]:
        """A document for a JSON file: each kernel, totals and what was left."""
        kernels = [
            {
                **dataclasses.asdict(k),
                **{f"weights_{w}": k.weights(a) for w, a in WHEN},
                **{f"multiply_adds_{w}": k.multiply_adds(a) for w, a in WHEN},
            }
            for k in self.kernels
        ]
        totals = {
            f"{what}_{when}": self.total(what, after)
            for what in ("weights", "multiply_adds")
            for when, after in WHEN
        }
        return {"kernels": kernels, **totals, "left": list(self.left)}

    def __str__(self) -> str:
        head = ("layer", "kernel before", "after", "weights", "multiply-adds", "zeros left")
        rows = [head, *(self._row(k) for k in self.kernels)]
        totals = (self._share(self.total(w, True), self.total(w, False)) for w in WHAT)
        rows.append(("all", "", "", *totals, ""))
        widths = [max(len(row[i]) for row in rows) for i in range(len(head))]
        lines = [
            "  ".join(cell.ljust(n) for cell, n in zip(row, widths, strict=True)).rstrip()
            for row in rows
        ]
        return "\n".join([*lines, *(f"left: {sentence}" for sentence in self.left)])

    def _row(self, k: KernelChange) -> tuple[str, ...]:
        left = [(k.zero_filters, "filters"), (k.zero_columns, "columns")]
        return (
            kernel_title(k.layer, k.kernel),
            "x".join(map(str, k.before)),
            "gone" if k.after is None else "x".join(map(str, k.after)),
            *(self._share(getattr(k, w)(True), getattr(k, w)(False)) for w in WHAT),
            ", ".join(f"{n} {what}" for n, what in left if n),
        )

    @staticmethod
    def _share(after: int | None, before: int | None) -> str:
        if after is None or before is None:
            return "unknown"
        return f"{after:,} ({after / before:.1%})" if before else f"{after:,}"


WHAT = ("weights", "multiply_adds")
WHEN = (("before", False), ("after", True))


def kernel_changes(
    traced: Trace, remains: Remains, narrowed: dict[str, Narrowing]
) -> tuple[KernelChange, ...]:
    """The change of every kernel, predicted from what remains and how it is narrowed."""
    found = []
    stays = {c.layer_name for c in traced.graph.calls if c.name in remains.calls}
    for name, call in layers_of(traced).items():
        axes = channel_axes(traced, call, frozen=True)
        for variable in kernels_of(traced, call):
            before = tuple(variable.shape)
            after, index = list(before), [np.ones(n, bool) for n in before]
            for found_axis in (a for a in axes if a.variable is variable):
                alive = remains.alive(traced, found_axis.tensor)
                after[found_axis.axis], index[found_axis.axis] = int(alive.sum()), alive
            after = tuple(after)
            kernel = ops.convert_to_numpy(variable)[np.ix_(*index)]
            if name in narrowed and name in stays:
                after, kernel = narrowed[name].shape(after), narrowed[name].kernel(kernel)
            zero, outs = kernel == 0, traced.rule(call).kernel_axes[1] % kernel.ndim
            others = tuple(a for a in range(kernel.ndim) if a != outs)
            found.append(
                KernelChange(
                    name,
                    type(call.op).__name__,
                    variable.name,
                    before,
                    after if name in stays else None,
                    _places(traced, name),
                    int(zero.all(axis=others).sum()) if name in stays else 0,
                    int(zero.all(axis=outs).sum()) if name in stays else 0,
                )
            )
        kernel = getattr(call.op, "kernel", None)
        if not kernels_of(traced, call) and isinstance(kernel, keras.Variable):
            # It works on another axis than that of the channels, so it stays whole or goes.
            shape, kind = tuple(kernel.shape), type(call.op).__name__
            after = shape if name in stays else None
            found.append(KernelChange(name, kind, kernel.name, shape, after, _places(traced, name)))
    return tuple(found)


def _places(traced: Trace, layer: str) -> int | None:
    """Positions at which a layer's kernel is applied, over all its calls."""
    total = 0
    for call in traced.graph.calls:
        if call.layer_name == layer:
            places = _positions(traced, call)
            if None in places:
                return None
            total += math.prod(places)
    return total


def _positions(traced: Trace, call: Call) -> list[int | None]:
    """Lengths of the axes along which one call applies its kernel."""
    read, made = call.inputs[0], call.outputs[0]
    shapes = traced.graph.shapes
    if not kernels_of(traced, call):
        if isinstance(call.op, layers.EinsumDense):
            letters, kernel = call.op.equation.split("->")[0].split(",")
            own = letters.replace("...", "." * (len(shapes[read]) - len(letters) + 3))
            return [n for n, x in zip(shapes[read][1:], own[1:], strict=True) if x not in kernel]
        first = getattr(call.op, "data_format", None) == "channels_first"
        return list(shapes[made][2:] if first else shapes[made][1:-1])
    side = read if isinstance(traced.rule(call), ConvTransposeRule) else made
    axis = traced.layouts[side].axis
    return [n for i, n in enumerate(shapes[side]) if i not in (0, axis)]


def channels_left(traced: Trace, remains: Remains, kept: list[np.ndarray] | None) -> list[str]:
    """Sentences on channels that were given up, or are constant, and stay.

    Args:
      traced, remains: of the model.
      kept: for each space the channels that a selection keeps; None when nothing was chosen.
    """
    fixed, grouped = fixed_spaces(traced), defaultdict(list)
    for (s, channel), reason in remains.reasons.items():
        given_up = UNFOLDED in reason if kept is None else not kept[s][channel]
        if s not in fixed and given_up:
            grouped[s, reason].append(channel)
    return [
        f"space '{traced.spaces[s].name}': {_channels(channels)}: {reason}"
        for (s, reason), channels in sorted(grouped.items())
    ]


def _channels(channels: list[int]) -> str:
    shown = ", ".join(map(str, sorted(channels)[:8]))
    if len(channels) == 1:
        return f"channel {shown} stays"
    return f"{len(channels)} channels stay ({shown}{', ...' if len(channels) > 8 else ''})"
