"""A training step of a placed tree: every node's backward products on that node's device.

One gradient tape over the whole tree would put them all on the first device. Here each copy of a
node has a tape of its own, and the gradients are handed from node to node as the outputs were.
"""

from __future__ import annotations

import collections

import keras
import tensorflow as tf

from splitnet_tf.parallel.copies import Copies
from splitnet_tf.parallel.placed_tree import PlacedTree
from splitnet_tf.recipe.mixed_precision import bfloat16_layers
from splitnet_tf.training.options import TrainOptions
from splitnet_tf.training.step import (
    BaseTrainStep,
    half_squares,
    mean_cross_entropy,
    step_scalars,
    with_l2,
)


class PlacedTrainStep(BaseTrainStep):
    """Trains a placed tree on one batch: cross entropy, the layers' own losses, L2, momentum.

    Copies of the trunk get the sum of their gradients and the mean of their moving statistics, so
    that they stay equal. Under ``shard`` batch norm in the trunk normalizes by the statistics of
    each device's share of the batch.

    Args:
      placed: of a tree with one input and one output, logits (B, classes).
      options: momentum, l2_weight, label_smoothing, bfloat16.
    """

    def __init__(self, placed: PlacedTree, options: TrainOptions):
        self.placed = placed
        self.options = options
        self._optimizers = {}
        for name, copies in placed.copies.items():
            for c, model in enumerate(copies):
                if not model.trainable_variables:
                    continue
                with tf.device(placed.device(name, c)):
                    optimizer = keras.optimizers.SGD(
                        0.0, momentum=options.momentum, nesterov=options.nesterov
                    )
                    optimizer.build(model.trainable_variables)
                self._optimizers[name, c] = optimizer
        shapes = [(None, *placed.tree.model.input_shape[1:]), (None,), ()]
        kinds = (placed.tree.model.inputs[0].dtype, tf.int32, tf.float32)
        self._step = tf.function(
            self._run,
            input_signature=[tf.TensorSpec(s, k) for s, k in zip(shapes, kinds, strict=True)],
            autograph=False,
        )

    @property
    def variables(self) -> list[Copies]:
        """Those of ``TrainStep`` on the tree itself, in its order: a run may move."""
        model, optimizers = self.placed.tree.model, list(self._optimizers.values())
        momenta = {}
        for name, copies in self.placed.copies.items():
            own = self.placed.nodes[name].model.trainable_variables
            slots = [self._optimizers[name, c].variables[2:] for c in range(len(copies)) if own]
            for i, variable in enumerate(own if self.options.momentum else ()):
                momenta[id(variable)] = Copies([s[i] for s in slots])
        return [
            *self.placed.variables,
            Copies([o.iterations for o in optimizers]),
            Copies([o.variables[1] for o in optimizers]),
            *(momenta[id(v)] for v in model.trainable_variables if id(v) in momenta),
        ]

    def l2(self) -> float:
        return self.options.l2_weight * sum(
            half_squares(copies[0].trainable_variables) for copies in self.placed.copies.values()
        )

    def graph(self) -> tf.Graph:
        """The traced graph; operations of a node's copy are in the scope ``<node>.<copy>``."""
        return self._step.get_concrete_function().graph

    def _run(self, images, labels, learning_rate):
        placed, head = self.placed, self.placed.tree.head.name
        made, tapes = {}, {}
        for node in placed.placement.nodes:
            for c in range(len(node.devices)):
                made[node.name, c] = self._forward(node.name, c, images, made, tapes)
        logits = made[head, 0][0]
        with tf.device(placed.device(head, 0)), tf.GradientTape() as tape:
            tape.watch(logits)
            smoothing = self.options.label_smoothing
            cross_entropy = mean_cross_entropy(labels, tf.cast(logits, tf.float32), smoothing)
        arrived = collections.defaultdict(list)
        arrived[head, 0, 0].append(tape.gradient(cross_entropy, logits))
        gradients = {}
        for node in reversed(placed.placement.nodes):
            for c in range(len(node.devices)):
                gradients[node.name, c] = self._backward(
                    node.name, c, tf.shape(images)[0], made, tapes, arrived
                )
        applied = self._apply(gradients, learning_rate)
        self._agree()
        own = [v for _, _, losses in tapes.values() for v in losses]
        return step_scalars(labels, logits, cross_entropy, own, applied)

    def _forward(self, name, copy, images, made, tapes) -> list:
        placed, model = self.placed, self.placed.copies[name][copy]
        shares = placed.shares(name)
        inputs = placed.share(images, copy) if shares else images
        feeds = placed.read(name, copy, (inputs,), made)
        with tf.device(placed.device(name, copy)):
            tape = tf.GradientTape()
            with tape:
                for x in feeds:
                    tape.watch(x)
                with bfloat16_layers(model, self.options.bfloat16):
                    outputs = placed.run(name, copy, feeds, training=True)
                if shares:
                    outputs = placed.kept(outputs, copy, tf.shape(images)[0])
                # Each copy adds its share, so that the copies together add a loss once.
                own = [v / len(placed.copies[name]) for v in model.losses]
        tapes[name, copy] = (tape, feeds, own)
        return outputs

    def _backward(self, name, copy, batch, made, tapes, arrived) -> list:
        """Gradients of a copy's variables; hands those of its inputs to where they came from."""
        placed = self.placed
        tape, feeds, own = tapes[name, copy]
        variables = [v.value for v in placed.copies[name][copy].trainable_variables]
        outputs = made[name, copy]
        with tf.device(placed.device(name, copy)), tf.name_scope(f"{name}.{copy}/"):
            above = [
                tf.add_n(arrived[name, copy, i]) if arrived[name, copy, i] else tf.zeros_like(y)
                for i, y in enumerate(outputs)
            ]
            found = tape.gradient(
                [*outputs, *own],
                [*feeds, *variables],
                output_gradients=[*above, *[tf.ones_like(v) for v in own]],
                unconnected_gradients=tf.UnconnectedGradients.ZERO,
            )
            sources = placed.nodes[name].feeds
            for feed, gradient in zip(sources, found[: len(feeds)], strict=True):
                if feed.source is None:
                    continue
                for piece in placed.pieces(name, copy, feed.source, feed.index):
                    part = gradient
                    if placed.shares(piece.node):
                        begin, end = placed.bounds(piece.copy, batch)
                        part = gradient[begin:end]
                    arrived[piece.node, piece.copy, piece.index].append(part)
        return found[len(feeds) :]

    def _apply(self, gradients, learning_rate) -> list[tf.Tensor]:
        """One step of each optimizer; returns the gradients that were applied."""
        placed, applied = self.placed, []
        for (name, copy), optimizer in self._optimizers.items():
            variables = placed.copies[name][copy].trainable_variables
            with tf.device(placed.device(name, copy)), tf.name_scope(f"{name}.{copy}/"):
                total = [
                    tf.add_n(list(parts))
                    for parts in zip(
                        *(gradients[name, c] for c in range(len(placed.copies[name]))), strict=True
                    )
                ]
                total = with_l2(total, variables, self.options.l2_weight)
                optimizer.learning_rate.assign(learning_rate)
                optimizer.apply(total, variables)
                applied += total
        return applied

    def _agree(self) -> None:
        """Gives the copies of a node the mean of what they have counted, each on its share."""
        for name, copies in self.placed.copies.items():
            if not self.placed.shares(name):
                continue
            for counted in zip(*(c.non_trainable_variables for c in copies), strict=True):
                if not counted[0].dtype.startswith("float"):
                    continue
                with tf.device(self.placed.device(name, 0)):
                    mean = tf.add_n([v.value for v in counted]) / len(counted)
                for v in counted:
                    v.assign(mean)
