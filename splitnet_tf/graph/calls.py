"""A functional model as data: an immutable, flat list of calls."""

from __future__ import annotations

import collections
import dataclasses
import inspect
from collections.abc import Callable, Mapping
from typing import Any

import keras


@dataclasses.dataclass(frozen=True)
class TensorRef:
    """Stands for tensor number ``id`` of a graph inside the arguments of a call."""

    id: int


@dataclasses.dataclass(frozen=True)
class Call:
    """One call of a layer or of a ``keras.ops`` operation.

    Attributes:
      name: str, unique within the graph: the layer's name, with ``#1``, ``#2`` for repeated calls.
      op: layer or operation called, the same object for every call of a shared layer.
      args, kwargs: arguments, with ``TensorRef`` where a tensor stands.
      inputs, outputs: ids of the tensors read and made, in order.
      overrides: settings in which a copy of the layer differs: a softmax over the channels (or
        an unknown function) in a layer's ``activation`` is read as a call of its own, and the
        layer as linear.
    """

    name: str
    op: Any
    args: tuple
    kwargs: dict
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    overrides: dict = dataclasses.field(default_factory=dict)

    @property
    def layer_name(self) -> str:
        """Name of the layer behind the call: without the mark of a repeated call."""
        return layer_name(self.name)

    def fill(self, tensors: Mapping[int, Any]) -> tuple[tuple, dict]:
        """Returns the arguments with every ``TensorRef`` replaced by ``tensors[id]``."""

        def filled(value):
            return tensors[value.id] if isinstance(value, TensorRef) else value

        return map_structure(filled, self.args), map_structure(filled, self.kwargs)


@dataclasses.dataclass(frozen=True)
class Graph:
    """A functional model as data.

    Attributes:
      inputs, outputs: ids of the model's input and output tensors, in order.
      calls: calls in topological order.
      shapes, dtypes, names: shape, dtype and name of each tensor, by id; a shape's batch axis is
        None. Inputs are called ``input`` or ``input_0``, ``input_1`` here, whatever their layer.
      input_structure, output_structure: dicts, lists and tuples as the model takes and gives
        them, with an index into ``inputs`` or ``outputs`` where a tensor stands.
      input_names, output_names: names of the model's inputs and outputs, in order.
      silenced: names of the random layers that the model calls with ``training=True``; here they
        are called with ``training=False``.
    """

    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    calls: tuple[Call, ...]
    shapes: tuple[tuple, ...]
    dtypes: tuple[str, ...]
    names: tuple[str, ...]
    input_structure: Any
    output_structure: Any
    input_names: tuple[str, ...]
    output_names: tuple[str, ...]
    silenced: tuple[str, ...] = ()

    @property
    def first_output(self) -> int:
        """Id of the output that the model names first; Keras sorts the keys of dicts."""
        order: list[int] = []
        map_structure(order.append, self.output_structure)
        return self.outputs[order[0]]

    def producers(self) -> dict[int, int]:
        """Maps tensor ids to the index of the call that makes them; model inputs are absent."""
        return {t: i for i, call in enumerate(self.calls) for t in call.outputs}

    def consumers(self) -> dict[int, list[int]]:
        """Maps tensor ids to the indices of the calls that read them."""
        readers = collections.defaultdict(list)
        for i, call in enumerate(self.calls):
            for t in dict.fromkeys(call.inputs):
                readers[t].append(i)
        return dict(readers)


def map_structure(function: Callable[[Any], Any], value: Any) -> Any:
    """Applies a function to what stands in dicts, lists and tuples, which keep their order."""
    if isinstance(value, dict):
        return {k: map_structure(function, v) for k, v in value.items()}
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return type(value)(*(map_structure(function, v) for v in value))
    if isinstance(value, (list, tuple)):
        return type(value)(map_structure(function, v) for v in value)
    return function(value)


def layer_name(call_name: str) -> str:
    """Name of the layer behind a call: without the mark of a repeated call."""
    return call_name.split("#")[0]


def unused(name: str, taken: set[str]) -> str:
    """Returns ``name``, or a longer name where it is taken, and marks it as taken."""
    while name in taken:
        name += "_"
    taken.add(name)
    return name


def is_keras_operation(op: Any) -> bool:
    """True for a ``keras.ops`` operation, False for a layer."""
    return not isinstance(op, keras.layers.Layer)


def mask_of(call: Call) -> int | None:
    """Id of the tensor that a layer is given as its ``mask``, None when there is none."""
    if is_keras_operation(call.op):
        return None
    names = inspect.signature(call.op.call).parameters
    mask = {**dict(zip(names, call.args, strict=False)), **call.kwargs}.get("mask")
    return mask.id if isinstance(mask, TensorRef) else None
