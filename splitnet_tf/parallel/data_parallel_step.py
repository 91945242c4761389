"""A training step whose batch is divided over several devices.

There is one model, on the default device. Each device reads its variables, runs its share of the
batch forward and back, and the gradients are added where the variables are. So hooks, checkpoints
and logs are those of one device, and a run may go on with more devices or with fewer.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf

from splitnet_tf.errors import ArgumentError, DataError
from splitnet_tf.graph.mixed_precision import in_float32
from splitnet_tf.parallel.lockstep import Lockstep
from splitnet_tf.parallel.placed_tree import check_devices, share_bounds
from splitnet_tf.parallel.shares import Shares
from splitnet_tf.recipe.losses import HeadLosses, by_output, output_names
from splitnet_tf.training.evaluation import inference_layers
from splitnet_tf.training.step import Loss, TrainStep, computes_in_float16

MIRRORED = "mirrored"  # all devices of this machine


def data_parallel_devices(distribute: str | Sequence[str]) -> tuple[str, ...]:
    """The devices over which batches are divided; none where they are not.

    Args:
      distribute: names of devices; ``"mirrored"`` for all GPUs, or for all logical CPU devices
        where there is no GPU; empty for none.

    Raises:
      ArgumentError: a single device, or another word.
      PlacementError: a device that is not there.
    """
    if not distribute:
        return ()
    if isinstance(distribute, str):
        if distribute != MIRRORED:
            raise ArgumentError(
                f"`distribute` must be '{MIRRORED}' or names of devices; got '{distribute}'."
            )
        kinds = (tf.config.list_logical_devices(kind) for kind in ("GPU", "CPU"))
        found = next(filter(None, kinds))
        distribute = [f"/{d.name.removeprefix('/device:')}" for d in found]
    check_devices(distribute)
    if len(set(distribute)) < 2:
        raise ArgumentError(
            f"`distribute` needs two devices or more, and has {', '.join(distribute)}; name them "
            "by `devices`, such as /CPU:0,/CPU:1."
        )
    return tuple(dict.fromkeys(distribute))


class DataParallelTrainStep(TrainStep):
    """Trains a model on one batch, each device on its share of it.

    The step is that of one device on the whole batch, but for rounding, for random layers, which
    draw for each share, and for batch norm, which normalizes by the statistics of a share and keeps
    the mean of the shares' statistics. With ``sync_batch_norm`` it takes those of the whole batch.

    Args:
      model, loss, optimizer, l2, bfloat16: see ``TrainStep``.
      devices: names of two devices or more, local or of a cluster.
      sync_batch_norm: bool, whether batch norms take the statistics of the whole batch. Defaults to
        False.

    Raises:
      ArgumentError: a model in float16, or one whose batch norms cannot be synchronized.
    """

    def __init__(
        self,
        model: keras.Model,
        loss: Loss,
        optimizer: keras.optimizers.Optimizer,
        devices: Sequence[str],
        *,
        l2: float = 0.0,
        bfloat16: bool = False,
        sync_batch_norm: bool = False,
    ):
        if computes_in_float16(model):
            raise ArgumentError(
                "A model in float16 does not train on several devices, as its loss must be scaled; "
                "build it with the policy mixed_bfloat16, or train it in float32 with "
                "`bfloat16=True`."
            )
        super().__init__(model, loss, optimizer, l2=l2, bfloat16=bfloat16)
        self.devices = tuple(devices)
        self._lockstep = Lockstep(model) if sync_batch_norm else None
        self.forward = tf.function(self._evaluate, autograph=False, reduce_retracing=True)

    def __call__(self, x, y, rate: float, sample_weight=None) -> dict[str, tf.Tensor]:
        examples = len(keras.tree.flatten(y)[0])
        if examples < len(self.devices):
            raise DataError(
                f"A batch of {examples} cannot be divided over {len(self.devices)} devices; give "
                "larger batches or fewer devices."
            )
        return super().__call__(x, y, rate, sample_weight)

    def _differentiated(self, x, y, sample_weight):
        examples = tf.shape(keras.tree.flatten(y)[0])[0]
        devices = range(len(self.devices))
        parts = [self._part(c, examples, (x, y, sample_weight)) for c in devices]
        counts = [tf.shape(keras.tree.flatten(labels)[0])[0] for _, labels, _ in parts]
        weights = [tf.cast(count / examples, tf.float32) for count in counts]
        shares = Shares(self.model, self.devices)
        with self._layers():
            made, own = self._forward(shares, [part for part, _, _ in parts], weights)
        shares.keep()
        losses, accuracies = [], []
        for c, (_, labels, weight) in enumerate(parts):
            with tf.device(self.devices[c]):
                outputs = in_float32(made[c])
                if isinstance(self.loss, HeadLosses):
                    names = output_names(self.model)
                    labels, outputs = by_output(labels, names), by_output(outputs, names)
                losses.append(weights[c] * self.loss(labels, outputs, sample_weight=weight))
                accuracies.append(self.loss.accuracy(labels, outputs))
        cross_entropy = tf.add_n(losses)
        # One tape would put every product of the way back on the default device.
        gradients = tf.compat.v1.gradients(
            tf.add_n([cross_entropy, *own]),
            shares.trained,
            colocate_gradients_with_ops=True,
        )
        return cross_entropy, own, tf.concat(accuracies, axis=0), gradients

    def _forward(self, shares: Shares, parts: list[Any], weights: list[tf.Tensor]) -> tuple:
        """Outputs of each share in training, and the model's own losses, each counted once."""
        if self._lockstep is not None:
            outputs = self._lockstep(shares, parts)
            with shares.on(len(parts) - 1):
                return outputs, [tf.cast(loss, tf.float32) for loss in self.model.losses]
        outputs, own = [], []
        for c, (part, weight) in enumerate(zip(parts, weights, strict=True)):
            with shares.on(c):
                outputs.append(self.model(part, training=True))
                own.append([weight * tf.cast(loss, tf.float32) for loss in self.model.losses])
        return outputs, [tf.add_n(each) for each in zip(*own, strict=True)]

    def _part(self, share: int, examples, values):
        """Slices of a share, where the batch is: no more is sent."""
        begin, end = share_bounds(share, len(self.devices), examples)
        return keras.tree.map_structure(lambda v: None if v is None else v[begin:end], values)

    def _evaluate(self, x):
        """Logits of a batch of any size, each device's share made there."""
        examples = tf.shape(keras.tree.flatten(x)[0])[0]
        shares, made = Shares(self.model, self.devices), []
        with inference_layers(self.model):
            for c in range(len(self.devices)):
                begin, end = share_bounds(c, len(self.devices), examples)
                # Not all operations take an empty batch: an empty share is one example, dropped.
                first = tf.minimum(begin, examples - 1)
                last = tf.maximum(end, first + 1)
                part = keras.tree.map_structure(lambda v, a=first, b=last: v[a:b], x)
                with shares.on(c):
                    outputs = in_float32(self.model(part, training=False))
                    made.append(keras.tree.map_structure(lambda v, n=end - begin: v[:n], outputs))
        return keras.tree.map_structure(lambda *parts: tf.concat(parts, axis=0), *made)
