"""Structures: which weights of a model stand or fall together.

Kernels are (window..., in, out). A structure says what one group of them is:

| structure   | one group                                                                   |
|-------------|-----------------------------------------------------------------------------|
| `filters`   | all that makes one output channel: a row of the lowered matrix              |
| `channels`  | all that reads one input channel                                            |
| `shapes`    | one position of the window in one input channel, over all filters: a column |
| `filters2d` | the window of one input channel in one filter                               |
| `depth`     | the whole kernel                                                            |
| `layers`    | the whole kernel, its bias, and the norm right behind it                    |
| `spaces`    | one channel of a channel space: what makes it, biases and norms, what reads it |
| `blocks`    | in one kernel, all that outputs of device j read of inputs of device i, j not i |

For a dense layer the groups of `filters` are its units and those of `channels` its inputs.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Iterable, Sequence

import keras
import numpy as np

from splitnet_tf.errors import ArgumentError
from splitnet_tf.graph.calls import Call
from splitnet_tf.graph.channel_devices import EVERYWHERE, ChannelDevices
from splitnet_tf.graph.kernel_rules import DepthwiseConvRule, SeparableConvRule
from splitnet_tf.graph.layer_rules import PerChannelRule
from splitnet_tf.graph.trace import Trace, trace
from splitnet_tf.sparsity.places import deep_layers, last_layers
from splitnet_tf.sparsity.weight_axes import (
    channel_axes,
    channels_of_spaces,
    fixed_spaces,
    kernels_of,
    layers_of,
)


@dataclasses.dataclass(frozen=True, eq=False)
class Part:
    """Weights of one variable that belong to groups.

    Attributes:
      path: str, the variable's path in its model.
      axes: ints from 0, ascending: the axes that tell groups apart; a group has all of the others.
      groups: int array, one axis for each of ``axes``: the group at each place; -1 for none.
      shape: shape of the variable.
    """

    path: str
    axes: tuple[int, ...]
    groups: np.ndarray
    shape: tuple[int, ...]

    @functools.cached_property
    def pattern(self) -> tuple[np.ndarray, np.ndarray, np.ndarray] | None:
        """A small array with ``groups == small[rows][:, columns]``, rows and columns.

        None where ``groups`` has other than two axes, or such an array would not be much smaller.
        """
        if self.groups.ndim != 2:
            return None
        small, rows = np.unique(self.groups, axis=0, return_inverse=True)
        small, columns = np.unique(small, axis=1, return_inverse=True)
        if 4 * small.size > self.groups.size:
            return None
        return small, rows.ravel().astype("int32"), columns.ravel().astype("int32")


@dataclasses.dataclass(frozen=True, eq=False)
class Groups:
    """The groups of one structure in one layer or one channel space.

    Attributes:
      structure: str, one of ``STRUCTURES``.
      name: str, name of the layer or space.
      shape: grid of the groups, such as (filters,) or (height, width, channels); () for one group.
      parts: the weights, variable by variable.
    """

    structure: str
    name: str
    shape: tuple[int, ...]
    parts: tuple[Part, ...]

    @property
    def count(self) -> int:
        """Number of groups."""
        return int(np.prod(self.shape, dtype=int))

    def sizes(self) -> np.ndarray:
        """Weights of each group, int (count,)."""
        sizes = np.zeros(self.count + 1, int)
        for part in self.parts:
            each = np.prod(part.shape, dtype=int) // max(part.groups.size, 1)
            np.add.at(sizes, part.groups.ravel(), each)  # -1 is the last one
        return sizes[:-1]


def structure_groups(
    model: keras.Model | Trace,
    structure: str,
    names: Sequence[str] | None = None,
    frozen: bool = False,
    devices: ChannelDevices | None = None,
) -> tuple[Groups, ...]:
    """Finds the groups of a structure in a model.

    Args:
      model: functional ``keras.Model``, or its trace.
      structure: str, one of ``STRUCTURES``.
      names: names of layers (of channel spaces for ``spaces``). By default every layer for which
        groups at zero can free something: for ``filters`` all but those that make the model's
        outputs, for ``depth`` and ``layers`` those on a longest path that have a way around them,
        for ``spaces`` all whose channels can be taken out.
      frozen: bool, whether weights that are not trained count too. Defaults to False.
      devices: ``ChannelDevices`` of the model, for ``blocks``, which needs them. Group
        ``i * (n - 1) + j - (j > i)`` of n devices is the block from device i to device j.

    Returns:
      ``Groups`` of each layer or space, in the model's order.

    Raises:
      ArgumentError: an unknown structure or name, a layer that has no such groups, or ``blocks``
        without devices.

    >>> net = sn.models.mlp((8,), num_classes=4, input_shape=(6,))
    >>> [(g.name, g.shape) for g in structure_groups(net, "filters")]
    [('fc1', (8,))]
    """
    traced = model if isinstance(model, Trace) else trace(model)
    if structure not in STRUCTURES:
        raise ArgumentError(
            f"`structure` must be one of {', '.join(STRUCTURES)}; got {structure!r}."
        )
    if structure == "spaces":
        return _spaces(traced, names, frozen)
    if structure == "blocks" and devices is None:
        raise ArgumentError("`blocks` needs `devices`, from `place_channels`.")
    layers = {
        name: call
        for name, call in layers_of(traced).items()
        if any(frozen or v.trainable for v in kernels_of(traced, call))
    }
    chosen = _chosen(names, layers, structure, f"layer with a kernel for `{structure}`", layers)
    found = []
    for name, call in layers.items():
        if name not in chosen:
            continue
        if structure == "blocks":
            parts = _blocks(traced, call, devices)
        elif structure == "layers":
            parts = (), _with_norm(traced, call, frozen)
        else:
            parts = _of_layer(structure, traced, call)
        if parts is None and names is not None:
            raise ArgumentError(
                f"`{structure}`: layer '{name}' has no such groups: {_WHY[structure == 'blocks']}."
            )
        if parts is not None:
            found.append(Groups(structure, name, *parts))
    if names is None and structure == "filters":
        last = last_layers(traced)
        found = [g for g in found if g.name not in last]
    if names is None and structure in ("depth", "layers"):
        deep = deep_layers(traced)
        found = [g for g in found if g.name in deep]
    return tuple(found)


def _chosen(
    names: Sequence[str] | None,
    known: Iterable[str],
    structure: str,
    what: str,
    listed: Iterable[str],
) -> set[str]:
    """The names, or all; ``listed`` are those that a sentence on an unknown one tells of."""
    known = list(known)
    for name in names or ():
        if name not in known:
            there = ", ".join(listed) or "none"
            raise ArgumentError(f"`{structure}`: '{name}' is no {what}; there are {there}.")
    return set(known if names is None else names)


# Structures within a layer: the grid of groups, and for each kernel its axes and their groups.


def _of_layer(structure: str, traced: Trace, call: Call):
    rule, kernels = traced.rule(call), kernels_of(traced, call)
    if isinstance(rule, SeparableConvRule):
        return _of_separable(structure, *kernels)
    shape = tuple(kernels[0].shape)
    window, *ends = range(len(shape) - 2), *(a % len(shape) for a in rule.kernel_axes)
    channels, filters = (shape[a] for a in ends)
    axes = tuple(sorted(_AXES[structure](window, *ends)))
    depthwise = isinstance(rule, DepthwiseConvRule)
    if depthwise and structure == "filters":  # out is in x multiplier
        axes = (len(shape) - 2, len(shape) - 1)
    blocks = channels if depthwise else getattr(call.op, "groups", 1)
    if structure == "filters2d" and not window:
        return None
    single = blocks > 1 and traced.size(call.outputs[0]) == blocks
    if structure == "shapes" and (single or ends[0] > ends[1]):  # a transposed one is not lowered
        return None
    grid = tuple(shape[a] for a in axes)
    groups = np.arange(np.prod(grid, dtype=int)).reshape(grid)
    if blocks > 1 and not depthwise and structure in ("channels", "shapes"):
        # Each block of filters reads channels of its own, so each is a matrix of its own.
        axes = (*axes, len(shape) - 1)
        block = np.arange(filters) // (filters // blocks)
        first, channel = np.divmod(groups, channels)
        groups = (first[..., None] * blocks + block) * channels + channel[..., None]
        grid = (*grid[:-1], channels * blocks)
    if structure == "filters":
        grid = (int(np.prod(grid)),)
    return grid, (Part(kernels[0].path, axes, groups, shape),)


# Of a kernel's axes: those of the window, that of the inputs, that of the outputs.
_AXES: dict[str, Callable[[Sequence[int], int, int], tuple[int, ...]]] = {
    "filters": lambda window, ins, outs: (outs,),
    "channels": lambda window, ins, outs: (ins,),
    "shapes": lambda window, ins, outs: (*window, ins),
    "filters2d": lambda window, ins, outs: (ins, outs),
    "depth": lambda window, ins, outs: (),
}


def _of_separable(structure: str, depthwise: keras.Variable, pointwise: keras.Variable):
    """Two kernels: a channel is its depthwise window and the rows that read what this makes."""
    rank = len(depthwise.shape)
    *_, channels, multiplier = depthwise.shape
    filters = pointwise.shape[-1]
    if structure == "filters":
        chosen = [(pointwise, (rank - 1,), np.arange(filters))]
        grid = (filters,)
    elif structure == "channels":
        rows = np.repeat(np.arange(channels), multiplier)
        chosen = [
            (depthwise, (rank - 2,), np.arange(channels)),
            (pointwise, (rank - 2,), rows),
        ]
        grid = (channels,)
    elif structure == "depth":
        chosen = [(v, (), np.array(0)) for v in (depthwise, pointwise)]
        grid = ()
    else:
        return None
    parts = (Part(v.path, axes, groups, tuple(v.shape)) for v, axes, groups in chosen)
    return grid, tuple(parts)


def _with_norm(traced: Trace, call: Call, frozen: bool) -> tuple[Part, ...]:
    """All that a layer does: its kernels, its bias, and the norm that alone reads what it makes.

    A norm undoes any scale of the kernel, so that a penalty on the kernel alone takes nothing from
    the network, and noise makes a small kernel grow again.
    """
    graph, made = traced.graph, call.outputs[0]
    weights = [*kernels_of(traced, call), getattr(call.op, "bias", None)]
    readers = [graph.calls[i] for i in graph.consumers().get(made, ())]
    if len(readers) == 1 and made not in graph.outputs:
        (reader,) = readers
        once = sum(c.op is reader.op for c in graph.calls) == 1
        if once and isinstance(traced.rule(reader), PerChannelRule):
            weights += [a.variable for a in channel_axes(traced, reader, frozen)]
    chosen = [v for v in weights if v is not None and (frozen or v.trainable)]
    return tuple(Part(v.path, (), np.array(0), tuple(v.shape)) for v in chosen)


def _blocks(traced: Trace, call: Call, devices: ChannelDevices):
    """Blocks of a kernel between two devices; None where it joins no divided channels."""
    if call.name not in traced.kernels:
        return None
    sources, targets = (devices.labels(traced, t) for t in (call.inputs[0], call.outputs[0]))
    rule = traced.rule(call)
    sources = np.repeat(sources, rule.rows_of_channel(call.op))[:, None]
    between = (sources != EVERYWHERE) & (targets != EVERYWHERE) & (sources != targets)
    if not between.any():
        return None
    count = devices.num_devices
    groups = np.where(between, sources * (count - 1) + targets - (targets > sources), -1)
    kernel = rule.kernel_of(call.op)
    axes = tuple(a % len(kernel.shape) for a in rule.kernel_axes)
    if axes[0] > axes[1]:
        axes, groups = axes[::-1], groups.T
    return (count * (count - 1),), (Part(kernel.path, axes, groups, tuple(kernel.shape)),)


# Why a layer has no groups of a structure, and no blocks.
_WHY = (
    "each would be a single weight, or the kernel is not a matrix of filters and columns",
    "its inputs or its outputs are not divided between devices, or it needs all channels",
)


# Channel spaces.


def _spaces(traced: Trace, names: Sequence[str] | None, frozen: bool) -> tuple[Groups, ...]:
    fixed = fixed_spaces(traced)
    numbers = {space.name: i for i, space in enumerate(traced.spaces)}
    free = [name for name, i in numbers.items() if i not in fixed]
    what = "channel space whose channels can be taken out"
    chosen = _chosen(names, numbers, "spaces", what, free)
    if names is None:
        chosen = set(free)
    inputs = {s for t in traced.graph.inputs for s in traced.layouts[t].spaces}
    parts: dict[int, list[Part]] = {numbers[name]: [] for name in chosen}
    for call in layers_of(traced).values():
        for found in channel_axes(traced, call, frozen):
            space, index = channels_of_spaces(traced, found.tensor)
            shape = tuple(found.variable.shape)
            for s in parts.keys() & set(space.tolist()):
                groups = np.where(space == s, index, -1)
                parts[s].append(Part(found.variable.path, (found.axis,), groups, shape))
    made = []
    for s, space in enumerate(traced.spaces):
        if s in fixed and s not in inputs and space.name in chosen:
            raise ArgumentError(
                f"`spaces`: channels of '{space.name}' cannot be taken out: {fixed[s]}."
            )
        if parts.get(s):
            made.append(Groups("spaces", space.name, (space.size,), tuple(parts[s])))
    return tuple(made)


STRUCTURES = (*_AXES, "layers", "spaces", "blocks")
