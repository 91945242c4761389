"""Copies of functional models, with their weights."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import keras

from splitnet_tf.errors import PlanError
from splitnet_tf.graph.activations import activation_name
from splitnet_tf.graph.keras_graph import (
    Call,
    Graph,
    copy_operation,
    is_keras_operation,
    layer_name,
    new_inputs,
    read_graph,
    rebuild,
)
from splitnet_tf.graph.layer_rules import ELEMENTWISE
from splitnet_tf.graph.trace import trace
from splitnet_tf.grouping.grouped_layers import GroupedKernel, copy_of

# Layers and operations that turn logits into something else. Casting and copying do not.
ACTIVATIONS = tuple(
    getattr(keras.layers, name) for name in ("ELU", "LeakyReLU", "PReLU", "ReLU", "Softmax")
)
FUNCTIONS = {*ELEMENTWISE, "Softmax", "LogSoftmax", "Sparsemax"} - {"Cast", "Copy", "StopGradient"}


def plain_copy(model: keras.Model) -> keras.Model:
    """A copy of a functional model with its weights, grouped layers turned into stock ones."""
    return remade(model.name, trace(model).graph, plain_layer)


def plain_layer(call: Call) -> keras.layers.Layer:
    """A stock layer of the settings of the one called."""
    return copy_of(call.op, layer_name(call.name), call.overrides)


def remade(name: str, graph: Graph, make: Callable[[Call], Any]) -> keras.Model:
    """The graph as a new model with ``make(call)`` for each layer, and the same weights."""
    made: dict[int, object] = {}

    def replace(call):
        if id(call.op) not in made:
            made[id(call.op)] = (
                copy_operation(call.op, layer_name(call.name), {})
                if is_keras_operation(call.op)
                else make(call)
            )
        return made[id(call.op)]

    inputs = new_inputs(graph)
    outputs = rebuild(graph, inputs, replace)
    model = keras.Model(
        inputs if len(inputs) > 1 else inputs[0],
        outputs if len(outputs) > 1 else outputs[0],
        name=name,
    )
    for call in graph.calls:
        _copy_weights(call.op, made[id(call.op)])
    return model


def _copy_weights(source, target) -> None:
    if is_keras_operation(source) or not source.weights:
        return
    if isinstance(source, GroupedKernel) or isinstance(target, GroupedKernel):
        for name in ("kernel", "depthwise_kernel", "pointwise_kernel", "bias"):
            if getattr(source, name, None) is not None and hasattr(target, name):
                getattr(target, name).assign(getattr(source, name))
        return
    for a, b in zip(target.weights, source.weights, strict=True):
        a.assign(b)


def logits_model(model: keras.Model) -> keras.Model:
    """The same classifier without the softmax at its end; the model itself if there is none.

    Raises:
      PlanError: the model is no classifier of one label: several outputs, an output that is not
        (batch, classes), or another function than a softmax at its end.
    """
    graph = read_graph(model)
    if len(graph.outputs) != 1 or len(graph.shapes[graph.outputs[0]]) != 2:
        shapes = ", ".join(str(graph.shapes[t]) for t in graph.outputs)
        raise PlanError(
            f"Model '{model.name}' has outputs of shape {shapes}; a classifier with one output "
            "(batch, classes) is needed."
        )
    producers = graph.producers()
    if graph.outputs[0] not in producers:
        return model
    last = graph.calls[producers[graph.outputs[0]]]
    end = _function(last.op)
    if end in ("softmax", "Softmax"):
        calls = tuple(c for c in graph.calls if c is not last)
        without = dataclasses.replace(graph, calls=calls, outputs=last.inputs)
        return remade(model.name, without, plain_layer)
    if end is not None:
        raise PlanError(
            f"Model '{model.name}' ends in '{end}'; a classifier of one label is needed, that ends "
            "in logits or a softmax."
        )
    return model


def _function(op: Any) -> str | None:
    """The function of its input that an operation or an activation layer is, None for others."""
    if is_keras_operation(op):
        name = type(op).__name__
        return name if name in FUNCTIONS else None
    if isinstance(op, ACTIVATIONS):
        return type(op).__name__
    name = activation_name(getattr(op, "activation", None))
    return None if name in ("NoneType", "linear") else name
