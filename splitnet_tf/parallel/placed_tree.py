"""A tree, or a divided model, whose nodes run on devices of their own, in one ``tf.function``."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Sequence

import keras
import numpy as np
import tensorflow as tf

from splitnet_tf.analysis.placement import Placement, make_placement
from splitnet_tf.errors import PlacementError
from splitnet_tf.graph.mixed_precision import in_float32
from splitnet_tf.parallel.copies import Copies
from splitnet_tf.parallel.divided_model import DividedModel
from splitnet_tf.parallel.local_devices import check_name
from splitnet_tf.parallel.stream import stream
from splitnet_tf.splitting import SplitTree
from splitnet_tf.splitting.tree import TRUNK
from splitnet_tf.training.evaluation import inference_layers


@dataclasses.dataclass(frozen=True)
class Piece:
    """Part of a tensor's batch.

    Attributes:
      node: name of the node that makes it.
      copy: int, copy of that node.
      index: int, output of that copy.
    """

    node: str
    copy: int
    index: int


def place(
    tree: SplitTree | DividedModel,
    devices: Sequence[str],
    trunk: str = "replicate",
    *,
    bfloat16: bool = False,
) -> PlacedTree:
    """Places a tree, or the parts of a divided model, on devices.

    Args:
      tree: to place; its weights are copied.
      devices: names such as ``["/GPU:0", "/GPU:1"]``, local or of a cluster; as many as a
        ``DividedModel`` was divided for.
      trunk: ``replicate``, ``separate`` or ``shard``; see ``make_placement``. Defaults to
        ``replicate``. A divided model has no trunk.
      bfloat16: bool, whether layers of float32 compute in bfloat16, and nodes send it to each
        other; the outputs are float32. Defaults to False.

    Raises:
      PlacementError: a device is not there, or the tree cannot be placed so.
    """
    check_devices(devices)
    if isinstance(tree, DividedModel):
        placement = tree.placement(devices, bfloat16=bfloat16)
    else:
        placement = make_placement(tree, devices, trunk, bfloat16=bfloat16)
    return PlacedTree(tree, placement, bfloat16=bfloat16)


def check_devices(devices: Sequence[str]) -> None:
    """Raises PlacementError for a device that is not there."""
    known = [d.name for d in tf.config.list_logical_devices()]
    for name in devices:
        check_name(name)
        if not any(_same_device(name, other) for other in known):
            short = ", ".join(n.removeprefix("/device:") for n in known)
            raise PlacementError(f"Device '{name}' is not there; there are {short}.")


def _same_device(name: str, known: str) -> bool:
    a, b = (tf.DeviceSpec.from_string(n) for n in (name, known))
    if (a.device_type, a.device_index) != (b.device_type, b.device_index):
        return False
    return a.job is None or (a.job, a.task) == (b.job, b.task)


class PlacedTree:
    """Tree that is called like its model; a node's variables and operations are on its device.

    The nodes of a divided model are its parts.

    Attributes:
      placement: device of each node; prints as a table.
    """

    def __init__(
        self, tree: SplitTree | DividedModel, placement: Placement, *, bfloat16: bool = False
    ):
        self.tree = tree
        self.placement = placement
        self._bfloat16 = bfloat16
        self.nodes = {n.name: n for n in tree.nodes()}
        self.copies = {
            n.name: [copy_on(self.nodes[n.name].model, placement.devices[d]) for d in n.devices]
            for n in placement.nodes
        }
        signature = [
            tf.TensorSpec((None, *x.shape[1:]), x.dtype, name=f"images_{i}")
            for i, x in enumerate(tree.model.inputs)
        ]
        self._function = tf.function(self.forward, input_signature=signature, autograph=False)

    def __call__(self, inputs, training=False):
        """Computes the tree's outputs on a batch (B, ...) with any B from 1.

        Raises:
          ValueError: ``training``; a placed tree is trained by ``PlacedTrainStep``.
        """
        if training:
            raise ValueError("A placed tree is trained by PlacedTrainStep.")
        given = self.tree.model.input
        if isinstance(inputs, dict) and not isinstance(given, dict):
            inputs = [inputs[x.name] for x in self.tree.model.inputs]
        made = self._function(*keras.tree.flatten(inputs))
        return keras.tree.pack_sequence_as(self.tree.model.output, _as_list(made))

    def stream(self, batches: Iterable, ahead: int = 2) -> Iterator:
        """Computes the outputs on many batches, in order; ``ahead`` are under way at once.

        While one batch waits, for the trunk on another device or for tensors on their way, the
        next one computes.
        """
        return stream(self, batches, ahead)

    def graph(self) -> tf.Graph:
        """Returns the traced graph, with operations of a node's copy in scope ``<node>.<copy>``."""
        return self._function.get_concrete_function().graph

    def forward(self, *inputs):
        """Computes the outputs from symbolic or eager inputs.

        Under ``shard`` every node runs on each share of the batch by itself: while the shares of
        other devices are on their way, a branch computes its own device's.
        """
        head = self.tree.head.name
        if not self.shares(TRUNK):
            outputs = self._forward_share(inputs, None)
        else:
            batch = tf.shape(inputs[0])[0]
            shares = []
            for copy in range(len(self.copies[TRUNK])):
                made = self._forward_share([self.share(x, copy) for x in inputs], copy)
                shares.append(self.kept(made, copy, batch))
            with tf.device(self.device(head, 0)):
                outputs = [tf.concat(parts, axis=0) for parts in zip(*shares, strict=True)]
        with tf.device(self.device(head, 0)):
            outputs = in_float32(outputs) if self._bfloat16 else outputs
        return outputs[0] if len(outputs) == 1 else outputs

    def _forward_share(self, inputs, share: int | None) -> list:
        """Computes the outputs for a batch, or for the share of one of the trunk's copies."""
        made = {}
        for node in self.placement.nodes:
            only = share is not None and self.shares(node.name)
            for copy in [share] if only else range(len(node.devices)):
                feeds = self.read(node.name, copy, inputs, made)
                made[node.name, copy] = self.run(node.name, copy, feeds)
        return made[self.tree.head.name, 0]

    def device(self, name: str, copy: int) -> str:
        """Name of the device of a node's copy."""
        node = next(n for n in self.placement.nodes if n.name == name)
        return self.placement.devices[node.devices[copy]]

    def run(self, name: str, copy: int, feeds: list, training: bool = False) -> list:
        """Runs one copy of a node on its device."""
        model, scope = self.copies[name][copy], tf.name_scope(f"{name}.{copy}/")
        layers = inference_layers(model, self._bfloat16)
        with tf.device(self.device(name, copy)), scope, layers:
            return _as_list(model(_one(feeds), training=training))

    def shares(self, name: str) -> bool:
        """Returns True when each copy of a node does a share of the batch."""
        return self.placement.trunk == "shard" and name == TRUNK

    def bounds(self, copy: int, batch) -> tuple:
        """Returns the first image of a trunk copy's share of the batch, and that after the last."""
        return share_bounds(copy, len(self.copies[TRUNK]), batch)

    def share(self, x, copy: int):
        """Cuts a trunk copy's share from an input, where the input is: no more is sent.

        Not all operations take an empty batch. With fewer images than copies, an empty share is
        one image, which ``kept`` drops.
        """
        batch = tf.shape(x)[0]
        begin, end = self.bounds(copy, batch)
        begin = tf.minimum(begin, batch - 1)
        return x[begin : tf.maximum(end, begin + 1)]

    def kept(self, outputs: list, copy: int, batch) -> list:
        """Drops from outputs made of ``share`` the image that an empty share was filled with."""
        begin, end = self.bounds(copy, batch)
        return [y[: end - begin] for y in outputs]

    def pieces(self, name: str, copy: int, source: str, index: int) -> list[Piece]:
        """Lists the parts that, one after the other, make one input of a node's copy."""
        count = len(self.copies[source])
        if self.shares(source):
            return [Piece(source, c, index) for c in range(count)]
        here = self.device(name, copy)
        near = [c for c in range(count) if self.device(source, c) == here]
        return [Piece(source, near[0] if near else 0, index)]

    def read(self, name: str, copy: int, inputs, made) -> list:
        """Puts the inputs of a node's copy together on its device, from the pieces made so far."""
        feeds = []
        with tf.device(self.device(name, copy)), tf.name_scope(f"{name}.{copy}/"):
            for feed in self.nodes[name].feeds:
                if feed.source is None:
                    feeds.append(inputs[feed.index])
                    continue
                parts = [
                    made[p.node, p.copy][p.index]
                    for p in self.pieces(name, copy, feed.source, feed.index)
                    if (p.node, p.copy) in made
                ]
                feeds.append(parts[0] if len(parts) == 1 else tf.concat(parts, axis=0))
        return feeds

    @property
    def variables(self) -> list[Copies]:
        """Copies on the devices of each of the tree's variables, in the tree's order."""
        copies = {}
        for name, placed in self.copies.items():
            own = [c.variables for c in placed]
            for i, variable in enumerate(self.nodes[name].model.variables):
                copies[id(variable)] = Copies([v[i] for v in own])
        return [copies[id(v)] for v in self.tree.model.variables]

    def gather(self) -> SplitTree | DividedModel:
        """Puts the weights back into the tree that was placed, and returns it."""
        for variable, copies in zip(self.tree.model.variables, self.variables, strict=True):
            variable.assign(np.asarray(copies))
        return self.tree


def share_bounds(part: int, parts: int, count) -> tuple:
    """Returns begin and end of share ``part`` of ``count`` things; tensors if ``count`` is one."""
    return count * part // parts, count * (part + 1) // parts


def copy_on(model: keras.Model, device: str) -> keras.Model:
    """Copies a model to a device: Keras puts variables on the device where a layer is built."""
    with tf.device(device):
        copy = keras.Model.from_config(model.get_config())
        copy.set_weights(model.get_weights())
    return copy


def _as_list(values) -> list:
    return list(values) if isinstance(values, (list, tuple)) else [values]


def _one(values: list):
    return values[0] if len(values) == 1 else values
