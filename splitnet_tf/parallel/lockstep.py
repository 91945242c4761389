"""Several shares of a batch through one model, layer by layer, with the batch norms of the whole.

A batch norm needs the statistics of every share before any share goes on. So each call of the
model's graph is made for all shares before the next one.
"""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf

from splitnet_tf.errors import ArgumentError
from splitnet_tf.graph.calls import Call, is_keras_operation, map_structure, mask_of
from splitnet_tf.graph.keras_reader import read_graph
from splitnet_tf.parallel.shares import Shares


class Lockstep:
    """Forward pass of the shares of a batch in training, each on its device.

    Args:
      model: functional.

    Raises:
      ArgumentError: a batch norm of another class, with a mask or with renorm, or a layer whose own
        loss depends on its outputs.
    """

    def __init__(self, model: keras.Model):
        self._graph = read_graph(model)
        for call in self._graph.calls:
            _check(call)

    def __call__(self, shares: Shares, parts: Sequence[Any]) -> list[Any]:
        """Outputs of each part of a batch, in the structure that the model gives."""
        graph, made = self._graph, []
        for part in parts:
            flat = keras.tree.flatten(part)
            cast = [tf.cast(x, graph.dtypes[t]) for x, t in zip(flat, graph.inputs, strict=True)]
            made.append(dict(zip(graph.inputs, cast, strict=True)))
        for call in graph.calls:
            if _is_norm(call.op) and call.op.trainable:
                outputs = _norm(call.op, shares, [t[call.inputs[0]] for t in made])
            else:
                outputs = [_one(call, shares, c, tensors) for c, tensors in enumerate(made)]
            for tensors, found in zip(made, outputs, strict=True):
                tensors.update(zip(call.outputs, keras.tree.flatten(found), strict=True))
        return [
            map_structure(lambda i, t=tensors: t[graph.outputs[i]], graph.output_structure)
            for tensors in made
        ]


def _one(call: Call, shares: Shares, share: int, tensors: dict[int, Any]) -> Any:
    """The outputs of a call for one share."""
    args, kwargs = call.fill(tensors)
    layer = not is_keras_operation(call.op)
    if layer and "training" in inspect.signature(call.op.call).parameters:
        kwargs.setdefault("training", True)
    with shares.on(share):
        return call.op(*args, **kwargs)


def _norm(layer: keras.layers.BatchNormalization, shares: Shares, parts: list[tf.Tensor]) -> list:
    """Outputs of a batch norm on each part, by the statistics of the whole batch."""
    axis = layer.axis % len(parts[0].shape)
    others = [i for i in range(len(parts[0].shape)) if i != axis]
    moments, counts = [], []
    for c, x in enumerate(parts):
        with shares.on(c):
            # Both in one message.
            moments.append(tf.stack(tf.nn.moments(tf.cast(x, tf.float32), others)))
            counts.append(tf.cast(tf.shape(x)[0], tf.float32))
    weights = [n / tf.add_n(counts) for n in counts]
    found = list(map(tf.unstack, moments))
    mean = tf.add_n([p * m for p, (m, _) in zip(weights, found, strict=True)])
    spread = [v + tf.square(m - mean) for m, v in found]
    variance = tf.add_n([p * s for p, s in zip(weights, spread, strict=True)])
    for moving, batch in ((layer.moving_mean, mean), (layer.moving_variance, variance)):
        moving.assign(moving.value * layer.momentum + batch * (1.0 - layer.momentum))
    both = tf.stack([mean, variance])
    shape = [-1 if i == axis else 1 for i in range(len(parts[0].shape))]
    outputs = []
    for c, x in enumerate(parts):
        with shares.on(c):
            offset = layer.beta.value if layer.center else None
            scale = layer.gamma.value if layer.scale else None
            values = [
                None if v is None else tf.reshape(v, shape)
                for v in (*tf.unstack(tf.identity(both)), offset, scale)
            ]
            made = tf.nn.batch_normalization(tf.cast(x, tf.float32), *values, layer.epsilon)
            outputs.append(tf.cast(made, layer.compute_dtype))
    return outputs


def _is_norm(op: Any) -> bool:
    return isinstance(op, keras.layers.BatchNormalization)


def _check(call: Call) -> None:
    """Refuses what cannot be computed share by share."""
    if _is_norm(call.op):
        other = type(call.op) is not keras.layers.BatchNormalization
        if other or getattr(call.op, "renorm", False) or mask_of(call) is not None:
            raise ArgumentError(
                f"`sync_batch_norm`: batch norm '{call.layer_name}' is a class of its own, has a "
                "mask or has renorm, and is not synchronized; leave the argument out."
            )
    if getattr(call.op, "activity_regularizer", None) is not None:
        raise ArgumentError(
            f"`sync_batch_norm`: the loss of layer '{call.layer_name}' on its own outputs cannot "
            "be divided; leave the argument out."
        )
