"""A training step of a placed tree: every node's backward products on that node's device.

One gradient tape over the whole tree would put them all on the first device. Here each copy of a
node has a tape of its own, and the gradients are handed from node to node as the outputs were.
"""

from __future__ import annotations

import collections
import re
from collections.abc import Callable

import keras
import tensorflow as tf

from splitnet_tf.errors import ArgumentError
from splitnet_tf.graph.mixed_precision import bfloat16_layers, in_float32
from splitnet_tf.parallel.copies import Copies
from splitnet_tf.parallel.placed_tree import PlacedTree
from splitnet_tf.training.kernel_gradients import product_gradients
from splitnet_tf.training.step import (
    BaseTrainStep,
    check_rate,
    computes_in_float16,
    half_squares,
    step_scalars,
    with_l2,
)


class PlacedTrainStep(BaseTrainStep):
    """Trains a placed tree on one batch: the loss, the layers' own losses, L2, the optimizer.

    In ``graph()`` operations of a node's copy have the scope ``<node>.<copy>``.

    Copies of the trunk get the sum of their gradients and the mean of their moving statistics, so
    that they stay equal. Under ``shard`` batch norm in the trunk normalizes by the statistics of
    each device's share of the batch.

    Args:
      placed: of a tree with one input and one output, logits (B, classes).
      loss: from ``recipe.losses``.
      make_optimizer: makes the optimizer of one copy of a node, such as one of
        ``recipe.optimizers``; each step sets its learning rate. What it does must concern each
        variable by itself: no clipping by the norm of all gradients.
      l2: float, weight of half the sum of the squared kernels. Defaults to 0.
      bfloat16: bool, whether layers of float32 compute in bfloat16 while they train. Defaults to
        False.

    Raises:
      ArgumentError: a tree in float16, or an optimizer that cannot be one of several.
    """

    def __init__(
        self,
        placed: PlacedTree,
        loss: keras.losses.Loss,
        make_optimizer: Callable[[], keras.optimizers.Optimizer],
        *,
        l2: float = 0.0,
        bfloat16: bool = False,
    ):
        if computes_in_float16(placed.tree.model):
            raise ArgumentError(
                "A tree in float16 does not train on several devices, as its loss must be scaled; "
                "build it with the policy mixed_bfloat16, or train it in float32 with "
                "`bfloat16=True`."
            )
        self.placed = placed
        self.model = placed
        self.loss = loss
        self._make_optimizer = make_optimizer
        self._l2 = l2
        self._bfloat16 = bfloat16
        self._optimizers = {}
        for name, copies in placed.copies.items():
            for c, model in enumerate(copies):
                if not model.trainable_variables:
                    continue
                with tf.device(placed.device(name, c)):
                    optimizer = make_optimizer()
                    optimizer.build(model.trainable_variables)
                check_rate(optimizer)
                if optimizer.global_clipnorm is not None:
                    raise ArgumentError(
                        "`global_clipnorm` does not work across devices, each of which has an "
                        "optimizer of its own; take `clipnorm`."
                    )
                self._optimizers[name, c] = optimizer
        self._step = tf.function(self._run, autograph=False, reduce_retracing=True)

    @property
    def variables(self) -> list[Copies]:
        """Variables of ``TrainStep`` on the tree itself, in its order: a run may move."""
        trained = self.placed.tree.model.trainable_variables
        slots = {}  # of a variable by its id and the slot's name
        for name, copies in self.placed.copies.items():
            own = self.placed.nodes[name].model.trainable_variables
            if not own:
                continue
            held = [self._optimizers[name, c].variables for c in range(len(copies))]
            for (i, slot), *each in zip(self._slots(len(own)), *held, strict=True):
                slots.setdefault((None if i is None else id(own[i]), slot), []).extend(each)
        return [
            *self.placed.variables,
            *(
                Copies(slots[None if i is None else id(trained[i]), slot])
                for i, slot in self._slots(len(trained))
            ),
        ]

    def _slots(self, count: int) -> list[tuple[int | None, str]]:
        """Variables of an optimizer of ``count`` variables: of which one, and the slot's name."""
        optimizer = self._make_optimizer()
        optimizer.build([keras.Variable(0.0, name=f"v{i}") for i in range(count)])
        found = [re.fullmatch(r"(?:v(\d+)_)?(.+)", v.name) for v in optimizer.variables]
        return [(None if m[1] is None else int(m[1]), m[2]) for m in found]

    def l2(self) -> float:
        return self._l2 * sum(
            half_squares(copies[0].trainable_variables) for copies in self.placed.copies.values()
        )

    def updates(self) -> list[tuple[keras.optimizers.Optimizer, list[keras.Variable]]]:
        return [
            (optimizer, self.placed.copies[name][c].trainable_variables)
            for (name, c), optimizer in self._optimizers.items()
        ]

    def _run(self, images, labels, learning_rate, sample_weight):
        placed, head = self.placed, self.placed.tree.head.name
        made, tapes = {}, {}
        for node in placed.placement.nodes:
            for c in range(len(node.devices)):
                made[node.name, c] = self._forward(node.name, c, images, made, tapes)
        logits = made[head, 0][0]
        with tf.device(placed.device(head, 0)):
            with tf.GradientTape() as tape:
                tape.watch(logits)
                outputs = in_float32(logits)
                cross_entropy = self.loss(labels, outputs, sample_weight=sample_weight)
            accuracies = self.loss.accuracy(labels, outputs)
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
        return step_scalars(cross_entropy, own, accuracies, applied)

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
                with bfloat16_layers(model, self._bfloat16), product_gradients(model):
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
                if self._l2:
                    total = with_l2(total, variables, self._l2)
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
