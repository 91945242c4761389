"""The one adapter to Keras internals: reads a functional model as a ``Graph``.

A functional Keras model keeps the calls that made it in ``_nodes_by_depth``; nothing public
gives the arguments of each call. Everything else in this package reads ``Graph`` only.
Nested functional and sequential models are read through, so that a graph is always flat; a
call inside a nested model is called ``outer_inner`` (Keras allows no ``/`` in layer names). A
``#`` in a layer's name becomes ``_``: it marks repeated calls here. Random layers are read as
called with ``training=False``: a functional model that is called in a mode of its own goes before
that, so a copy trains with them, and answers without them however it is called or exported.
"""

from __future__ import annotations

import collections
import inspect
import re
from collections.abc import Iterator
from typing import Any

import keras
from keras.src.models.functional import Functional

from splitnet_tf.errors import PlanError
from splitnet_tf.graph.activations import mixes_channels
from splitnet_tf.graph.calls import (
    Call,
    Graph,
    TensorRef,
    is_keras_operation,
    map_structure,
    unused,
)


def operation_key(op: Any) -> str | None:
    """Key of a ``keras.ops`` operation in the registry, such as ``"ops.Add"``; None for a layer."""
    if is_keras_operation(op) and type(op).__module__.startswith("keras.src.ops"):
        return f"ops.{type(op).__name__}"
    return None


def class_name(cls: type) -> str:
    """Path ``module.Name`` of a class, without the private part of Keras' module names."""
    return f"{cls.__module__}.{cls.__qualname__}".replace("keras.src.", "keras.")


def _has_own_call(model: Any) -> bool:
    """True for a model of a graph that computes something else than its graph."""
    kind = next((k for k in (keras.Sequential, Functional) if isinstance(model, k)), None)
    return kind is not None and (
        type(model).call is not kind.call or type(model).__call__ is not kind.__call__
    )


def _functional(model: Any) -> Any | None:
    """Functional model behind ``model``, or None when there is none to be read for it."""
    if _has_own_call(model):
        return None
    if isinstance(model, keras.Sequential):
        return model._functional
    return model if isinstance(model, Functional) else None


def functional_model(model: keras.Model) -> keras.Model:
    """The functional model behind a model: itself, or that of a built ``Sequential``.

    Layers and weights are those of the model. A ``Sequential`` has no ``input`` and ``output``,
    which the functional model behind it has.

    Raises:
      PlanError: the model is subclassed or not built.
    """
    found = model._functional if isinstance(model, keras.Sequential) else model
    if not isinstance(found, Functional):
        raise PlanError(_without_graph(model))
    return found


def _without_graph(model: Any) -> str:
    return (
        f"Model '{getattr(model, 'name', model)}' ({type(model).__name__}) has no functional "
        "graph; build it with keras.Input and keras.Model(inputs, outputs), or call "
        "Sequential.build(input_shape) first."
    )


def read_graph(model: keras.Model) -> Graph:
    """Reads a functional (or built sequential) model as a ``Graph``.

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
        raise PlanError(_without_graph(model))
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
        self.silenced: list[str] = []

    def read(self, functional) -> Graph:
        ids: dict[int, int] = {}
        self.taken.update(_paths(functional))
        many = len(functional.inputs) > 1
        for i, x in enumerate(functional.inputs):
            # Keras counts the names of its inputs up through a process; ours stay the same.
            ids[id(x)] = self._tensor(x, unused(f"input_{i}" if many else "input", self.taken))
        inputs = tuple(ids[id(x)] for x in functional.inputs)
        input_names = self._input_names(functional)
        outputs = self._without_names(self._walk(functional, ids, prefix="", training=None), inputs)
        return Graph(
            inputs,
            outputs,
            tuple(self.calls),
            tuple(self.shapes),
            tuple(self.dtypes),
            tuple(self.names),
            _indices(functional.input, functional.inputs),
            _indices(functional.output, functional.outputs),
            input_names,
            tuple(functional.output_names),
            tuple(dict.fromkeys(self.silenced)),
        )

    def _input_names(self, functional) -> tuple[str, ...]:
        """Names that the user gave the inputs, or else their keys in a dict, or else ours."""
        given = functional.input
        keys = {id(x): k for k, x in given.items()} if isinstance(given, dict) else {}
        names = [None if _COUNTED.fullmatch(x.name) else x.name for x in functional.inputs]
        taken = set(filter(None, names))
        for t, x in enumerate(functional.inputs):
            names[t] = names[t] or unused(str(keys.get(id(x), self.names[t])), taken)
        # Layers of nested models go by longer names here, which must not be these.
        self.ops.update(zip(names, functional.inputs, strict=True))
        return tuple(names)

    def _without_names(self, outputs: tuple[int, ...], inputs: tuple[int, ...]) -> tuple[int, ...]:
        """Takes out the stock ``Identity`` layers that only name outputs, see ``graph.ends``."""
        read = {t for call in self.calls for t in call.inputs}
        naming = {
            call.outputs[0]: call
            for call in self.calls
            if type(call.op) is keras.layers.Identity
            and call.outputs[0] in outputs
            and call.outputs[0] not in read
            and call.inputs[0] not in inputs
            and self.dtypes[call.inputs[0]] == self.dtypes[call.outputs[0]]
        }
        self.calls = [call for call in self.calls if call.outputs[0] not in naming]
        return tuple(naming[t].inputs[0] if t in naming else t for t in outputs)

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
            fed = _inner_feeds(inner, node.arguments)
            inner_ids = {id(x): ids[id(y)] for x, y in zip(inner.inputs, fed, strict=True)}
            # Keras: the mode that a model is called in goes before that of a call inside it.
            mode = node.arguments.kwargs.get("training") if training is None else training
            outputs = self._walk(inner, inner_ids, f"{prefix}{op.name}_", mode)
            for x, t in zip(node.outputs, outputs, strict=True):
                ids[id(x)] = t
            return
        args, kwargs = node.arguments.convert(
            lambda x: TensorRef(ids[id(x)]) if isinstance(x, keras.KerasTensor) else x
        )
        default = _training_default(op)
        if training is not None and default is not inspect.Parameter.empty:
            kwargs = {**kwargs, "training": training}
        path = _path(prefix, op)
        while self.ops.setdefault(path, op) is not op:
            path += "_"
        if default is not inspect.Parameter.empty and _is_random(op):
            if kwargs.get("training") and not default:
                self.silenced.append(path)
            kwargs = {**kwargs, "training": False}
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


# Names that Keras makes up for inputs that have none.
_COUNTED = re.compile(r"(input_layer|keras_tensor).*")


def _indices(structure: Any, tensors: list) -> Any:
    """A structure with the index into ``tensors`` in the place of each tensor."""
    index = {id(x): i for i, x in reversed(list(enumerate(tensors)))}
    return map_structure(lambda x: index[id(x)], structure)


def _inner_feeds(inner: Any, arguments: Any) -> list:
    """Tensors that a nested model is called on, in the order of its inputs.

    Keras takes a dict by the inputs' names where the model's own inputs are no dict.
    """
    given = arguments.args[0] if arguments.args else arguments.kwargs["inputs"]
    if isinstance(given, dict) and not isinstance(inner.input, dict):
        return [given[x.name] for x in inner.inputs]
    return keras.tree.flatten(given)


def _path(prefix: str, op: Any) -> str:
    return (prefix + op.name).replace("#", "_")


def _numbered(path: str, use: int) -> str:
    return path if use == 0 else f"{path}#{use}"


def _paths(functional: Any, prefix: str = "") -> Iterator[str]:
    """Name of every layer and operation of a model and the models inside it."""
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


def _training_default(op: Any) -> Any:
    """Default of a layer's ``training`` argument, ``Parameter.empty`` where it has none."""
    names = {} if is_keras_operation(op) else inspect.signature(op.call).parameters
    return names["training"].default if "training" in names else inspect.Parameter.empty


def _is_random(layer: keras.layers.Layer) -> bool:
    """True for a layer with a seed generator, in itself or in a layer inside it."""
    return any(part._seed_generators for part in layer._flatten_layers())


def nested_models(model: keras.Model) -> list[tuple[keras.Model, list, list]]:
    """Models that a functional model calls: (model, input tensors, output tensors)."""
    found = []
    model = functional_model(model)
    for depth in sorted(model._nodes_by_depth, reverse=True):
        for node in model._nodes_by_depth[depth]:
            if isinstance(node.operation, keras.Model):
                found.append((node.operation, list(node.arguments.keras_tensors), node.outputs))
    return found


def detached(op: Any) -> Any:
    """A copy of a ``keras.ops`` operation that is in no graph yet.

    Not ``copy.copy``: Keras would do it by ``get_config``, which not all operations can.
    """
    made = object.__new__(type(op))
    vars(made).update(vars(op), _inbound_nodes=[], _outbound_nodes=[])
    return made


def all_layers(model: keras.Model) -> list:
    """Every layer of a model and of the models and layers inside it, each once."""
    return list(model._flatten_layers(include_self=False))
