"""Inputs and outputs of a model built anew: the structure, order and names of the model read."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import keras

from splitnet_tf.graph.calls import Graph, map_structure, unused


def make_inputs(graph: Graph, taken: Iterable[str] = ()) -> dict[int, Any]:
    """Makes a ``keras.Input`` for each input of a graph, by the tensor's id.

    Args:
      graph: ``Graph``, as ``read_graph`` returns it.
      taken: names that other layers of the new model have; an input of such a name gets a longer
        one. Defaults to none.
    """
    names = set(taken)
    return {
        t: keras.Input(batch_shape=graph.shapes[t], dtype=graph.dtypes[t], name=unused(name, names))
        for t, name in zip(graph.inputs, graph.input_names, strict=True)
    }


def finish_model(graph: Graph, tensors: Mapping[int, Any], name: str) -> keras.Model:
    """Makes the model that takes and gives what the model of a graph did.

    Keras calls an output as the layer that makes it. Where that is another name than in the
    model read, a stock ``Identity`` layer of the old name stands last. Random layers that the
    model calls with ``training=True`` are named in the log: the new model is without them unless
    it is called so itself.

    Args:
      graph: ``Graph``, as ``read_graph`` returns it.
      tensors: tensor id to symbolic tensor; holds all inputs and outputs of the graph.
      name: str, name of the model.
    """
    if graph.silenced:
        logging.warning(
            "Random layers called with training=True: %s. In the new model '%s' they are random "
            "only where it is called with training=True itself.",
            *(", ".join(graph.silenced), name),
        )
    inputs = [tensors[t] for t in graph.inputs]
    outputs = [tensors[t] for t in graph.outputs]
    model = _model(graph, inputs, outputs, name)
    if tuple(model.output_names) == graph.output_names:
        return model
    taken = {op.name for op in model.operations}
    named: dict[str, Any] = {}
    for i, (found, wanted) in enumerate(zip(model.output_names, graph.output_names, strict=True)):
        if found == wanted:
            continue
        if wanted not in named:
            named[wanted] = keras.layers.Identity(name=unused(wanted, taken), **_policy(outputs[i]))
        outputs[i] = named[wanted](outputs[i])
    return _model(graph, inputs, outputs, name)


def _model(graph: Graph, inputs: Sequence, outputs: Sequence, name: str) -> keras.Model:
    return keras.Model(
        map_structure(inputs.__getitem__, graph.input_structure),
        map_structure(outputs.__getitem__, graph.output_structure),
        name=name,
    )


def _policy(x: Any) -> dict[str, str]:
    """Settings of a layer that casts nothing: Keras' layers cast floats to their own type."""
    return {"dtype": x.dtype} if keras.backend.is_float_dtype(x.dtype) else {}
