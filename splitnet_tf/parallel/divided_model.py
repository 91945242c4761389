"""A model whose channels are on several devices: one stock Keras model, and its parts."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import keras

from splitnet_tf.analysis.cost import cost
from splitnet_tf.analysis.placement import PlacedNode, Placement, Transfer, sent_as, tensor_bytes
from splitnet_tf.errors import PlacementError
from splitnet_tf.graph.keras_reader import nested_models
from splitnet_tf.graph.messages import HOME
from splitnet_tf.splitting.tree import HEAD, Feed, Node

_PART = re.compile(r"part_(\d+)_(\d+)")


class DividedModel:
    """View of a model that ``divide_model`` made: everything is read from ``model`` itself.

    Args:
      model: the divided model; its layers are the parts.
      notes: sentences on layers that could not be divided. Defaults to none.

    Attributes:
      model: ONE stock functional ``keras.Model``. Part ``part_<device>_<level>`` runs on a device
        between two exchanges of channels.
      head: part that puts the outputs together, on the first device.
      num_devices: int.

    Raises:
      PlacementError: the model was not made by ``divide_model``.
    """

    def __init__(self, model: keras.Model, notes: Sequence[str] = ()):
        found, made_by = {}, {id(x): Feed(None, t) for t, x in enumerate(model.inputs)}
        for nested, inputs, outputs in nested_models(model):
            found[nested.name] = (nested, tuple(made_by[id(x)] for x in inputs))
            made_by.update({id(x): Feed(nested.name, i) for i, x in enumerate(outputs)})
        parts = sorted((n for n in found if _PART.fullmatch(n)), key=_level_and_device)
        if HEAD not in found or set(found) != {*parts, HEAD}:
            raise PlacementError(
                f"Model '{model.name}' is not divided between devices; make one with "
                "splitnet_tf.divide_model."
            )
        self.model, self.notes = model, tuple(notes)
        self._nodes = [Node(name, *found[name], None) for name in (*parts, HEAD)]
        self.head = self._nodes[-1]
        self.num_devices = 1 + max(map(device_of, parts))

    def nodes(self) -> list[Node]:
        """Lists the parts in an order in which they can run; the head comes last."""
        return list(self._nodes)

    def __call__(self, inputs, training=False):
        return self.model(inputs, training=training)

    def placement(self, devices: Sequence[str], *, bfloat16: bool = False) -> Placement:
        """The device of each part, and the bytes that cross between them.

        Args:
          devices: names, one for each device that the model was divided for.
          bfloat16: bool, whether what the parts send is in bfloat16. Defaults to False.

        Raises:
          PlacementError: another number of devices, or one named twice.
        """
        devices = tuple(devices)
        if len(devices) != self.num_devices or len(set(devices)) != len(devices):
            raise PlacementError(
                f"`devices` must name {self.num_devices} devices, each once, as the model is "
                f"divided between so many; got {', '.join(devices) or 'none'}."
            )
        counted = [(n, cost(n.model)) for n in self._nodes]
        nodes = (PlacedNode(n.name, (device_of(n.name),), c.params, c.flops) for n, c in counted)
        return Placement("", devices, tuple(nodes), tuple(self._transfers(bfloat16)))

    @property
    def bytes_crossing(self) -> int:
        """Bytes between devices for each example."""
        return sum(t.bytes for t in self._transfers() if t.source >= 0)

    def _transfers(self, bfloat16: bool = False) -> list[Transfer]:
        sizes = {
            (n.name, i): tensor_bytes(x.shape, sent_as(x.dtype, bfloat16))
            for n in self._nodes
            for i, x in enumerate(n.model.outputs)
        }
        image = sum(tensor_bytes(x.shape, x.dtype) for x in self.model.inputs)
        found = {}
        for node in self._nodes:
            here = device_of(node.name)
            for feed in node.feeds:
                if feed.source is None:
                    found[None, here] = Transfer(-1, here, "images", image)
                elif (there := device_of(feed.source)) != here:
                    size = sizes[feed.source, feed.index]
                    key = (feed.source, feed.index, here)
                    found[key] = Transfer(there, here, feed.source, size)
        return list(found.values())

    def save(self, path: str | Path) -> None:
        """Saves ``model`` as a ``.keras`` file; ``DividedModel`` of the model loaded is this."""
        self.model.save(path)


def part_name(device: int, level: int) -> str:
    """Name of a part."""
    return f"part_{device}_{level}"


def device_of(name: str) -> int:
    """Device of a part, by its name; the head is on the first."""
    match = _PART.fullmatch(name)
    return int(match[1]) if match else HOME


def _level_and_device(name: str) -> tuple[int, int]:
    match = _PART.fullmatch(name)
    return int(match[2]), int(match[1])
