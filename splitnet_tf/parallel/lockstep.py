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


class Lockstep:
    """Forward pass of the shares of a batch in training, each on its device.

    Args:
      model: functional.
      devices: names, one a share.

    Raises:
      ArgumentError: a batch norm of another class, with a mask or with renorm, or a layer whose own
        loss depends on its outputs.
    """

    def __init__(self, model: keras.Model, devices: Sequence[str]):
        self._devices = tuple(devices)
        self._graph = read_graph(model)
        for call in self._graph.calls:
            _check(call)

    def __call__(self, shares: Sequence[Any]) -> list[Any]:
        """Outputs of each share, in the structure that the model gives."""
        graph, made = self._graph, []
        for share in shares:
            flat = keras.tree.flatten(share)
            cast = [tf.cast(x, graph.dtypes[t]) for x, t in zip(flat, graph.inputs, strict=True)]
            made.append(dict(zip(graph.inputs, cast, strict=True)))
        for call in graph.calls:
            if _is_norm(call.op) and call.op.trainable:
                outputs = self._norm(call.op, [t[call.inputs[0]] for t in made])
            else:
                outputs = [self._one(call, t, d) for t, d in zip(made, self._devices, strict=True)]
            for tensors, found in zip(made, outputs, strict=True):
                tensors.update(zip(call.outputs, keras.tree.flatten(found), strict=True))
        return [
            map_structure(lambda i, t=tensors: t[graph.outputs[i]], graph.output_structure)
            for tensors in made
        ]

    def _one(self, call: Call, tensors: dict[int, Any], device: str) -> Any:
        args, kwargs = call.fill(tensors)
        layer = not is_keras_operation(call.op)
        if layer and "training" in inspect.signature(call.op.call).parameters:
            kwargs.setdefault("training", True)
        with tf.device(device):
            return call.op(*args, **kwargs)

    def _norm(self, layer: keras.layers.BatchNormalization, shares: list[tf.Tensor]) -> list:
        """Outputs of a batch norm on each share, by the statistics of the whole batch."""
        axis = layer.axis % len(shares[0].shape)
        others = [i for i in range(len(shares[0].shape)) if i != axis]
        moments, counts = [], []
        for x, device in zip(shares, self._devices, strict=True):
            with tf.device(device):
                moments.append(tf.nn.moments(tf.cast(x, tf.float32), others))
                counts.append(tf.cast(tf.shape(x)[0], tf.float32))
        parts = [n / tf.add_n(counts) for n in counts]
        mean = tf.add_n([p * m for p, (m, _) in zip(parts, moments, strict=True)])
        spread = [v + tf.square(m - mean) for m, v in moments]
        variance = tf.add_n([p * s for p, s in zip(parts, spread, strict=True)])
        for moving, batch in ((layer.moving_mean, mean), (layer.moving_variance, variance)):
            moving.assign(moving.value * layer.momentum + batch * (1.0 - layer.momentum))
        gamma = layer.gamma.value if layer.scale else None
        beta = layer.beta.value if layer.center else None
        shape = [-1 if i == axis else 1 for i in range(len(shares[0].shape))]
        outputs = []
        for x, device in zip(shares, self._devices, strict=True):
            with tf.device(device):
                values = [
                    None if v is None else tf.reshape(v, shape)
                    for v in (mean, variance, beta, gamma)
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
