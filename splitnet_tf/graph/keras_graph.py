"""The one adapter to Keras internals: a functional model as an immutable, flat list of calls.

A functional Keras model keeps the calls that made it in ``_nodes_by_depth``; nothing public
gives the arguments of each call. Everything else in this package reads ``Graph`` only.
Nested functional and sequential models are read through, so that a graph is always flat; a
call inside a nested model is called ``outer_inner`` (Keras allows no ``/`` in layer names). A
``#`` in a layer's name becomes ``_``: it marks repeated calls here.
"""

from __future__ import annotations

import collections
import dataclasses
import inspect
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import keras
from keras.src.models.functional import Functional

from splitnet_tf.errors import PlanError
from splitnet_tf.graph.activations import mixes_channels


@dataclasses.dataclass(frozen=True)
class TensorRef:
    """Stands for tensor number ``id`` of a graph inside the arguments of a call."""

    id: int


@dataclasses.dataclass(frozen=True)
class Call:
    """One call of a layer or of a ``keras.ops`` operation.

    Attributes:
      name: unique within the graph; the layer's name, with ``#1``, ``#2`` for repeated calls.
      op: the layer or operation called; the same object for every call of a shared layer.
      args, kwargs: the arguments, with ``TensorRef`` where a tensor stands.
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

    def fill(self, tensors: Mapping[int, Any]) -> tuple[tuple, dict]:
        """The arguments with every ``TensorRef`` replaced by ``tensors[id]``."""
        return _map_refs(self.args, tensors), _map_refs(self.kwargs, tensors)


@dataclasses.dataclass(frozen=True)
class Graph:
    """A functional model as data.

    Attributes:
      inputs, outputs: ids of the model's input and output tensors, in order.
      calls: in topological order.
      shapes, dtypes, names: of each tensor, by id; a shape's batch axis is None.
    """

    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    calls: tuple[Call, ...]
    shapes: tuple[tuple, ...]
    dtypes: tuple[str, ...]
    names: tuple[str, ...]

    def producers(self) -> dict[int, int]:
        """Tensor id to the index of the call that makes it (model inputs are absent)."""
        return {t: i for i, call in enumerate(self.calls) for t in call.outputs}

    def consumers(self) -> dict[int, list[int]]:
        """Tensor id to the indices of the calls that read it."""
        readers = collections.defaultdict(list)
        for i, call in enumerate(self.calls):
            for t in dict.fromkeys(call.inputs):
                readers[t].append(i)
        return dict(readers)


def _map_refs(value: Any, tensors: Mapping[int, Any]) -> Any:
    if isinstance(value, TensorRef):
        return tensors[value.id]
    if isinstance(value, dict):
        return {k: _map_refs(v, tensors) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(_map_refs(v, tensors) for v in value)
    return value


def is_keras_operation(op: Any) -> bool:
    """Whether ``op`` is a ``keras.ops`` operation rather than a layer."""
    return not isinstance(op, keras.layers.Layer)


def operation_key(op: Any) -> str | None:
    """``"ops.Add"`` and the like for a ``keras.ops`` operation, None for a layer."""
    if is_keras_operation(op) and type(op).__module__.startswith("keras.src.ops"):
        return f"ops.{type(op).__name__}"
    return None


def class_name(cls: type) -> str:
    """``module.Name`` of a class, without the private part of Keras' module names."""
    return f"{cls.__module__}.{cls.__qualname__}".replace("keras.src.", "keras.")


def _has_own_call(model: Any) -> bool:
    """Whether a model of a graph computes something else than its graph."""
    kind = next((k for k in (keras.Sequential, Functional) if isinstance(model, k)), None)
    return kind is not None and (
        type(model).call is not kind.call or type(model).__call__ is not kind.__call__
    )


def _functional(model: Any) -> Any | None:
    """The functional model behind ``model``, or None when there is none to be read for it."""
    if _has_own_call(model):
        return None
    if isinstance(model, keras.Sequential):
        return model._functional
    return model if isinstance(model, Functional) else None


def read_graph(model: keras.Model) -> Graph:
    """Reads a functional (or built sequential) model.

    Raises:
      PlanError: the model is subclassed or not built, so that it has no graph to read.
    """
    if _has_own_call(model):
        raise PlanError(
            f"Model '{model.name}' ({type(model).__name__}) has a call method of its own, which is "
            "not in its graph; write what it adds with layers or keras.ops inside the model."
        )
    functional = _functional(model)
    if functional is None:
        raise PlanError(
            f"Model '{getattr(model, 'name', model)}' ({type(model).__name__}) has no functional "
            "graph; build it with keras.Input and keras.Model(inputs, outputs), or call "
            "Sequential.build(input_shape) first."
        )
    return _Reader().read(functional)


class _Reader:
    def __init__(self):
        self.calls: list[Call] = []
        self.shapes: list[tuple] = []
        self.dtypes: list[str] = []
        self.names: list[str] = []
        self.uses: collections.Counter = collections.Counter()
        self.ops: dict[str, Any] = {}
        self.activations: dict[int, Any] = {}
        self.taken: set[str] = set()

    def read(self, functional) -> Graph:
        ids: dict[int, int] = {}
        self.taken.update(_paths(functional))
        many = len(functional.inputs) > 1
        for i, x in enumerate(functional.inputs):
            # Keras counts the names of its inputs up through a process; ours stay the same.
            ids[id(x)] = self._tensor(x, unused(f"input_{i}" if many else "input", self.taken))
        inputs = tuple(ids[id(x)] for x in functional.inputs)
        outputs = self._walk(functional, ids, prefix="", training=None)
        return Graph(
            inputs,
            outputs,
            tuple(self.calls),
            tuple(self.shapes),
            tuple(self.dtypes),
            tuple(self.names),
        )

    def _tensor(self, x, name) -> int:
        self.shapes.append(tuple(x.shape))
        self.dtypes.append(str(x.dtype))
        self.names.append(name)
        return len(self.shapes) - 1

    def _walk(self, functional, ids, prefix, training) -> tuple[int, ...]:
        for depth in sorted(functional._nodes_by_depth, reverse=True):
            for node in functional._nodes_by_depth[depth]:
                if node.operation is None or node.is_input:
                    continue
                self._read_node(node, ids, prefix, training)
        return tuple(ids[id(x)] for x in functional.outputs)

    def _read_node(self, node, ids, prefix, training):
        op = node.operation
        inner = _functional(op)
        if inner is not None:
            # A nested model: its inputs are this call's tensors, its calls become ours.
            inner_ids = {
                id(x): ids[id(y)]
                for x, y in zip(inner.inputs, node.arguments.keras_tensors, strict=True)
            }
            mode = node.arguments.kwargs.get("training")
            outputs = self._walk(
                inner, inner_ids, f"{prefix}{op.name}_", training if mode is None else mode
            )
            for x, t in zip(node.outputs, outputs, strict=True):
                ids[id(x)] = t
            return
        args, kwargs = node.arguments.convert(
            lambda x: TensorRef(ids[id(x)]) if isinstance(x, keras.KerasTensor) else x
        )
        if training is not None and kwargs.get("training") is None and _takes_training(op):
            kwargs = {**kwargs, "training": training}
        path = _path(prefix, op)
        while self.ops.setdefault(path, op) is not op:
            path += "_"
        use = self.uses[path]
        self.uses[path] += 1
        name = _numbered(path, use)
        inputs = tuple(ids[id(x)] for x in node.arguments.keras_tensors)
        made = tuple(self._tensor(x, name) for x in node.outputs)
        ids.update({id(x): t for x, t in zip(node.outputs, made, strict=True)})
        if not _ends_in_softmax(op):
            self.calls.append(Call(name, op, args, kwargs, inputs, made))
            return
        linear = {"activation": "linear"}
        self.calls.append(Call(name, op, args, kwargs, inputs, made, linear))
        if id(op) not in self.activations:
            self.activations[id(op)] = keras.layers.Activation(
                op.activation, name=unused(f"{path}_activation", self.taken), dtype=op.dtype_policy
            )
        activation = self.activations[id(op)]
        after_name = _numbered(activation.name, use)
        after = self._tensor(node.outputs[0], after_name)
        ids[id(node.outputs[0])] = after
        self.calls.append(Call(after_name, activation, (TensorRef(made[0]),), {}, made, (after,)))


def unused(name: str, taken: set[str]) -> str:
    """``name``, or a longer one where it is taken; it is taken then."""
    while name in taken:
        name += "_"
    taken.add(name)
    return name


def _path(prefix: str, op: Any) -> str:
    return (prefix + op.name).replace("#", "_")


def _numbered(path: str, use: int) -> str:
    return path if use == 0 else f"{path}#{use}"


def _paths(functional: Any, prefix: str = "") -> Iterator[str]:
    """The name of every layer and operation of a model and the models inside it."""
    for op in functional.operations:
        inner = _functional(op)
        if inner is not None:
            yield from _paths(inner, f"{prefix}{op.name}_")
        elif not isinstance(op, keras.layers.InputLayer):
            yield _path(prefix, op)


def _ends_in_softmax(op: Any) -> bool:
    layer = isinstance(op, keras.layers.Layer) and not isinstance(op, keras.layers.Activation)
    has_kernel = hasattr(op, "kernel") or hasattr(op, "pointwise_kernel")
    return layer and has_kernel and mixes_channels(op)


def _takes_training(op) -> bool:
    return not is_keras_operation(op) and "training" in inspect.signature(op.call).parameters


def mask_of(call: Call) -> int | None:
    """Id of the tensor that a layer is given as its ``mask``, None when there is none."""
    if is_keras_operation(call.op):
        return None
    names = inspect.signature(call.op.call).parameters
    mask = {**dict(zip(names, call.args, strict=False)), **call.kwargs}.get("mask")
    return mask.id if isinstance(mask, TensorRef) else None


def rebuild(
    graph: Graph,
    inputs: list,
    replace: Callable[[Call], Any],
) -> list:
    """Runs the graph on new symbolic tensors.

    Args:
      graph: as ``read_graph`` returns it.
      inputs: symbolic tensors for the graph's inputs.
      replace: gives the layer or operation to call in place of ``call.op``.

    Returns:
      The symbolic tensors of the graph's outputs.
    """
    tensors = dict(zip(graph.inputs, inputs, strict=True))
    for call in graph.calls:
        apply_call(call, replace(call), tensors)
    return [tensors[t] for t in graph.outputs]


def apply_call(call: Call, op: Any, tensors: dict[int, Any]) -> None:
    """Calls ``op`` as ``call`` says and stores what it makes in ``tensors``."""
    args, kwargs = call.fill(tensors)
    made = keras.tree.flatten(op(*args, **kwargs))
    for t, x in zip(call.outputs, made, strict=True):
        tensors[t] = x


def new_inputs(graph: Graph) -> list:
    """Fresh ``keras.Input`` tensors of the graph's input shapes, dtypes and names."""
    return [
        keras.Input(batch_shape=graph.shapes[t], dtype=graph.dtypes[t], name=graph.names[t])
        for t in graph.inputs
    ]


def layer_name(call_name: str) -> str:
    """The name of the layer behind a call: without the mark of a repeated call."""
    return call_name.split("#")[0]


def nested_models(model: keras.Model) -> list[tuple[keras.Model, list, list]]:
    """The models that a functional model calls: (model, input tensors, output tensors)."""
    found = []
    for depth in sorted(model._nodes_by_depth, reverse=True):
        for node in model._nodes_by_depth[depth]:
            if isinstance(node.operation, keras.Model):
                found.append((node.operation, list(node.arguments.keras_tensors), node.outputs))
    return found


def copy_operation(op: Any, name: str, settings: dict) -> Any:
    """A ``keras.ops`` operation under a name of its own: in a model no two may have the same.

    Keras counts such names up through a process, so that those in a file come again.
    """
    if settings:
        made = type(op)(**settings)
    else:  # not ``copy.copy``: Keras would do it by ``get_config``, which not all can
        made = object.__new__(type(op))
        vars(made).update(vars(op), _inbound_nodes=[], _outbound_nodes=[])
    made.name = name
    return made


def copy_layer(layer: Any, name: str, kind: type, overrides: dict, drop: tuple = ()) -> Any:
    """A new, unbuilt layer of the same settings; weights are not copied.

    Args:
      layer: to copy.
      name: of the copy.
      kind: class of the copy.
      overrides: settings in which the copy differs.
      drop: settings that the copy does not have.

    Raises:
      PlanError: Keras cannot make the layer from its settings.
    """
    try:
        config = {k: v for k, v in layer.get_config().items() if k not in drop}
        return kind.from_config({**config, **overrides, "name": name})
    except Exception as error:
        raise PlanError(
            f"Layer '{layer.name}' ({type(layer).__name__}) cannot be made again from its settings "
            f"({_first_line(error)}); give it a get_config and from_config that Keras can use."
        ) from error


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[0].rstrip(".") if lines else type(error).__name__


def all_layers(model: keras.Model) -> list:
    """Every layer of a model and of the models and layers inside it, each once."""
    return list(model._flatten_layers(include_self=False))
