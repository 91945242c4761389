"""Copies of functional models and of their layers."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import keras

from splitnet_tf.errors import PlanError
from splitnet_tf.graph.activations import activation_name
from splitnet_tf.graph.calls import Call, Graph, is_keras_operation
from splitnet_tf.graph.ends import finish_model, make_inputs
from splitnet_tf.graph.keras_reader import detached, read_graph
from splitnet_tf.graph.kernels import KERNEL_NAMES
from splitnet_tf.graph.layer_rules import ELEMENTWISE
from splitnet_tf.graph.twins import stock_type, twin_of

# Layers and operations that turn logits into something else. Casting and copying do not.
ACTIVATIONS = tuple(
    getattr(keras.layers, name) for name in ("ELU", "LeakyReLU", "PReLU", "ReLU", "Softmax")
)
FUNCTIONS = {*ELEMENTWISE, "Softmax", "LogSoftmax", "Sparsemax"} - {"Cast", "Copy", "StopGradient"}


def plain_copy(model: keras.Model) -> keras.Model:
    """Copies a functional model with its weights; grouped layers become stock ones.

    Args:
      model: functional ``keras.Model``; it is left as it is.

    Returns:
      A flat functional model of the same name that shares no layer with ``model``.

    Raises:
      PlanError: the model has no graph, or Keras cannot make a layer from its settings.

    >>> net = sn.models.mlp((8,), num_classes=4, input_shape=(6,))
    >>> grouped = sn.group_model(net, [("logits", 2)])
    >>> type(sn.plain_copy(grouped).get_layer("logits")).__name__
    'Dense'
    """
    return rebuild(model.name, read_graph(model), plain_layer)


def logits_model(
    model: keras.Model,
    multi_label: bool = False,
    outputs: Mapping[str, bool] | None = None,
) -> keras.Model:
    """Takes the softmax off the end of a classifier, or the sigmoid of several labels.

    Args:
      model: functional ``keras.Model`` with one output (batch, classes).
      multi_label: bool, whether an example may have several classes: the function taken off is
        then the sigmoid. Defaults to False.
      outputs: of several outputs, the name of each that classifies -> its ``multi_label``; the
        others are left as they are. Defaults to none: the model has one output.

    Returns:
      A copy without the function, with the same weights; ``model`` itself if it ends in logits.

    Raises:
      PlanError: the model is not such a classifier: several outputs, an output that is not there
        or not (batch, classes), or another function at its end.

    >>> images = keras.Input((6,))
    >>> net = keras.Model(images, keras.layers.Dense(4, activation="softmax")(images))
    >>> sn.logits_model(net).layers[-1].activation.__name__
    'linear'
    """
    graph = found = read_graph(model)
    if outputs is None and (len(graph.outputs) != 1 or len(graph.shapes[graph.outputs[0]]) != 2):
        shapes = ", ".join(str(graph.shapes[t]) for t in graph.outputs)
        raise PlanError(
            f"Model '{model.name}' has outputs of shape {shapes}; a classifier with one output "
            "(batch, classes) is needed."
        )
    names = list(graph.output_names)
    if isinstance(graph.output_structure, dict):
        names = {i: name for name, i in graph.output_structure.items()}
        names = [names[i] for i in range(len(graph.outputs))]
    for name, several in ({names[0]: multi_label} if outputs is None else outputs).items():
        if name not in names:
            raise PlanError(
                f"Model '{model.name}' has no output '{name}'; its outputs are {', '.join(names)}."
            )
        found = _without_function(model.name, found, names.index(name), several)
    return model if found is graph else rebuild(model.name, found, plain_layer)


def _without_function(model: str, graph: Graph, i: int, multi_label: bool) -> Graph:
    """The graph without the softmax or sigmoid that makes an output; itself if there is none."""
    output, producers = graph.outputs[i], graph.producers()
    if output not in producers:
        return graph
    last = graph.calls[producers[output]]
    end = _function(last.op)
    if end is not None and output in graph.consumers():
        raise PlanError(
            f"Model '{model}': other layers read what '{last.layer_name}' makes, which is an "
            "output too; logits are needed there, so give the output a layer of its own."
        )
    if multi_label and end == "sigmoid" and hasattr(last.op, "kernel"):
        linear = dataclasses.replace(last, overrides={"activation": "linear"})
        return dataclasses.replace(
            graph, calls=tuple(linear if c is last else c for c in graph.calls)
        )
    if end in (("sigmoid", "Sigmoid") if multi_label else ("softmax", "Softmax")):
        calls = tuple(c for c in graph.calls if c is not last)
        outputs = list(graph.outputs)
        outputs[i : i + 1] = last.inputs
        names = tuple(c.layer_name for c in calls if c.outputs == last.inputs)
        if len(outputs) > 1 or not names:  # of several outputs each keeps its name
            names = graph.output_names
        return dataclasses.replace(graph, calls=calls, outputs=tuple(outputs), output_names=names)
    if end is not None:
        kind, wanted = ("several labels", "sigmoid") if multi_label else ("one label", "softmax")
        raise PlanError(
            f"Model '{model}' ends in '{end}'; a classifier of {kind} is needed, that ends "
            f"in logits or a {wanted}."
        )
    return graph


def _function(op: Any) -> str | None:
    """Name of the function that an operation or an activation layer is, None for any other."""
    if is_keras_operation(op):
        name = type(op).__name__
        return name if name in FUNCTIONS else None
    if isinstance(op, ACTIVATIONS):
        return type(op).__name__
    name = activation_name(getattr(op, "activation", None))
    return None if name in ("NoneType", "linear") else name


def end_function(model: keras.Model) -> str | None:
    """Name of the function that a model's first output ends in, such as ``"softmax"``.

    None for logits.

    Raises:
      PlanError: the model has no graph.

    >>> images = keras.Input((6,))
    >>> end_function(keras.Model(images, keras.layers.Dense(4, activation="sigmoid")(images)))
    'sigmoid'
    """
    graph = read_graph(model)
    makers = graph.producers()
    if graph.outputs[0] not in makers:
        return None
    name = _function(graph.calls[makers[graph.outputs[0]]].op)
    return name and name.lower()


def rebuild(name: str, graph: Graph, make: Callable[[Call], Any]) -> keras.Model:
    """Builds the model of a graph anew, with the same weights.

    Args:
      name: str, name of the new model.
      graph: ``Graph``, as ``read_graph`` returns it.
      make: call -> the new layer in place of ``call.op``; asked once for a shared layer.
    """
    tensors = make_inputs(graph)
    whole = _undivided(graph)
    made: dict[int, Any] = {}
    for call in graph.calls:
        if whole.intersection(call.inputs):
            tensors[call.outputs[0]] = tensors[call.inputs[0]]
            continue
        if id(call.op) not in made:
            operation = is_keras_operation(call.op)
            plain = dataclasses.replace(call, overrides={}) if call.outputs[0] in whole else call
            made[id(call.op)] = (
                copy_operation(call.op, call.layer_name, {}) if operation else make(plain)
            )
        apply_call(call, made[id(call.op)], tensors)
    model = finish_model(graph, tensors, name)
    for call in graph.calls:
        if id(call.op) in made:
            _copy_weights(call.op, made[id(call.op)])
    return model


def _undivided(graph: Graph) -> set[int]:
    """Tensors between a layer and the function read apart from it, which one layer makes again."""
    read = graph.consumers()
    apart = {id(c.op) for c in graph.calls if c.overrides and c.outputs[0] not in read}
    return {c.outputs[0] for c in graph.calls if c.overrides and id(c.op) not in apart}


def apply_call(call: Call, op: Any, tensors: dict[int, Any]) -> None:
    """Calls ``op`` as ``call`` says and stores what it makes in ``tensors``."""
    args, kwargs = call.fill(tensors)
    made = keras.tree.flatten(op(*args, **kwargs))
    for t, x in zip(call.outputs, made, strict=True):
        tensors[t] = x


def one_or_all(values: list) -> Any:
    """Returns the value of a list of one, or the list, as Keras takes inputs and outputs."""
    return values[0] if len(values) == 1 else values


def _copy_weights(source: Any, target: Any) -> None:
    # Copied, since on JAX an assigned array is shared and ``fit`` gives its arrays away.
    if is_keras_operation(source) or not source.weights:
        return
    if twin_of(source) or twin_of(target):
        for name in (*KERNEL_NAMES, "bias"):
            if getattr(source, name, None) is not None and hasattr(target, name):
                getattr(target, name).assign(keras.ops.copy(getattr(source, name)))
        return
    for a, b in zip(target.weights, source.weights, strict=True):
        a.assign(keras.ops.copy(b))


def return_weights(copy: keras.Model, model: keras.Model) -> None:
    """Gives a model the weights of its ``plain_copy``, which was trained in its place."""
    made = {layer.name: layer for layer in copy.layers}
    for call in read_graph(model).calls:
        if call.layer_name in made:
            _copy_weights(made[call.layer_name], call.op)


def plain_layer(call: Call) -> keras.layers.Layer:
    """Makes an unbuilt stock layer of the settings of the layer called."""
    return copy_layer(call.op, call.layer_name, call.overrides)


def copy_layer(layer: Any, name: str, overrides: dict, kind: type | None = None) -> Any:
    """Makes an unbuilt layer of the settings of another; weights are not copied.

    Args:
      layer: ``keras.layers.Layer`` to copy.
      name: str, name of the copy.
      overrides: settings in which the copy differs.
      kind: class of the copy. Defaults to the stock class of ``layer``.

    Raises:
      PlanError: Keras cannot make the layer from its settings.
    """
    twin = twin_of(layer)
    drop = twin.settings if twin else ()
    try:
        config = {k: v for k, v in layer.get_config().items() if k not in drop}
        return (kind or stock_type(layer)).from_config({**config, **overrides, "name": name})
    except Exception as error:
        raise PlanError(
            f"Layer '{layer.name}' ({type(layer).__name__}) cannot be made again from its settings "
            f"({_first_line(error)}); give it a get_config and from_config that Keras can use."
        ) from error


def copy_operation(op: Any, name: str, settings: dict) -> Any:
    """Copies a ``keras.ops`` operation under a name of its own: a model has each name once.

    Keras counts such names up through a process, so that those in a file come again.
    """
    made = type(op)(**settings) if settings else detached(op)
    made.name = name
    return made


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[0].rstrip(".") if lines else type(error).__name__
