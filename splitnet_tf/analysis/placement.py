"""Placement: the device of each node of a tree, and the bytes that cross between devices."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

import numpy as np

from splitnet_tf.analysis.cost import cost
from splitnet_tf.analysis.tables import text_table
from splitnet_tf.errors import PlacementError
from splitnet_tf.splitting import Node, SplitTree

TRUNK_MODES = ("replicate", "separate", "shard")


@dataclasses.dataclass(frozen=True)
class PlacedNode:
    """A node and its devices.

    Attributes:
      name: str, name of the node.
      devices: indices into the placement's devices; several for a trunk on each of them.
      params, flops: int, cost of one copy; under ``shard`` each copy does its share of the FLOPs.
    """

    name: str
    devices: tuple[int, ...]
    params: int
    flops: int


@dataclasses.dataclass(frozen=True)
class Transfer:
    """Tensor that goes from one device to another for each image.

    Attributes:
      source, target: indices of devices; -1 is the caller, who has the images.
      what: ``images``, or name of the node whose output it is.
      bytes: float, bytes for each image; a mean under ``shard``.
    """

    source: int
    target: int
    what: str
    bytes: float


@dataclasses.dataclass(frozen=True)
class Placement:
    """Nodes and devices; prints as a table.

    Attributes:
      trunk: ``replicate``, ``separate`` or ``shard``; empty where there is none.
      devices: names of the devices.
      nodes: ``PlacedNode`` of each node, in the order in which they can run.
      transfers: ``Transfer`` of each tensor between devices.
    """

    trunk: str
    devices: tuple[str, ...]
    nodes: tuple[PlacedNode, ...]
    transfers: tuple[Transfer, ...]

    def device_of(self, name: str) -> int:
        """Returns the index of a node's device; the first, of a trunk on several."""
        return next(n.devices[0] for n in self.nodes if n.name == name)

    def params_on(self, device: int) -> int:
        """Counts the parameters that a device holds."""
        return sum(n.params for n in self.nodes if device in n.devices)

    def flops_on(self, device: int) -> float:
        """Counts a device's FLOPs for each image; under ``shard`` with its share of the trunk."""
        return sum(
            n.flops / (len(n.devices) if self.trunk == "shard" else 1)
            for n in self.nodes
            if device in n.devices
        )

    @property
    def bytes_crossing(self) -> float:
        """Bytes between devices for each image, without the bytes of the images themselves."""
        return sum(t.bytes for t in self.transfers if t.source >= 0)

    def __str__(self) -> str:
        rows = [
            (
                n.name,
                ", ".join(self.devices[d] for d in n.devices),
                n.params,
                n.flops,
            )
            for n in self.nodes
        ]
        nodes = text_table(("node", "device", "params", "FLOPs"), rows)
        rows = [
            (
                name,
                self.params_on(d),
                round(self.flops_on(d)),
                round(sum(t.bytes for t in self.transfers if t.target == d)),
                round(sum(t.bytes for t in self.transfers if t.source == d)),
            )
            for d, name in enumerate(self.devices)
        ]
        header = ("device", "params", "FLOPs/image", "bytes in/image", "bytes out/image")
        head = f"trunk: {self.trunk}\n\n" if self.trunk else ""
        return f"{head}{nodes}\n\n{text_table(header, rows)}"


def make_placement(
    tree: SplitTree,
    devices: Sequence[str],
    trunk: str = "replicate",
    *,
    bfloat16: bool = False,
) -> Placement:
    """Decides where each node runs: subtrees spread by their FLOPs, the heaviest first.

    Args:
      tree: ``SplitTree`` to place.
      devices: names, such as ``/CPU:0``; more or fewer than there are branches.
      trunk: ``replicate``: on every device that has branches; ``separate``: alone on the first
        device; ``shard``: on every device, each with its share of the batch.
      bfloat16: bool, whether what the nodes send is in bfloat16. Defaults to False.

    Raises:
      PlacementError: no devices, one named twice, too few for ``separate``, an unknown ``trunk``.
    """
    devices = tuple(devices)
    if trunk not in TRUNK_MODES:
        raise PlacementError(f"`trunk` must be one of {', '.join(TRUNK_MODES)}; got '{trunk}'.")
    if not devices or len(set(devices)) != len(devices):
        raise PlacementError(
            "`devices` must name one device or more, each once; got "
            f"{', '.join(devices) or 'none'}."
        )
    if trunk == "separate" and len(devices) < 2:
        raise PlacementError("`trunk=separate` needs two devices or more; name another device.")
    hosts = list(range(1 if trunk == "separate" else 0, len(devices)))
    counted = {n.name: cost(n.model) for n in tree.nodes()}
    homes = _spread(tree, hosts, {name: c.flops for name, c in counted.items()})
    homes[tree.head.name] = 0
    if trunk == "separate":
        trunks = (0,)
    elif trunk == "shard":
        trunks = tuple(range(len(devices)))
    else:  # wherever its outputs are read
        readers = [n for n in tree.nodes() if any(f.source == tree.trunk.name for f in n.feeds)]
        trunks = tuple(sorted({homes[n.name] for n in readers}))
    nodes = tuple(
        PlacedNode(
            n.name,
            trunks if n.name == tree.trunk.name else (homes[n.name],),
            counted[n.name].params,
            counted[n.name].flops,
        )
        for n in tree.nodes()
    )
    return Placement(trunk, devices, nodes, tuple(_transfers(tree, trunk, trunks, homes, bfloat16)))


def _spread(tree: SplitTree, hosts: list[int], flops: dict[str, int]) -> dict[str, int]:
    """Node name to device: whole subtrees of one level, of the level that balances best."""
    best, best_load = {}, math.inf
    level = list(tree.branches)
    above: list[Node] = []
    while level:
        homes: dict[str, int] = {}
        load = dict.fromkeys(hosts, 0)
        weights = {n.name: sum(flops[m.name] for m in n.walk()) for n in level}
        for node in sorted(level, key=lambda n: -weights[n.name]):
            host = min(hosts, key=lambda d: load[d])
            load[host] += weights[node.name]
            homes.update({m.name: host for m in node.walk()})
        # A node below this level runs where its heaviest child does.
        for node in reversed(above):
            child = max(node.children, key=lambda c: sum(flops[m.name] for m in c.walk()))
            homes[node.name] = homes[child.name]
            load[homes[node.name]] += flops[node.name]
        if max(load.values()) < best_load:
            best, best_load = homes, max(load.values())
        above += level
        if len(level) >= len(hosts) or not any(n.children for n in level):
            break
        # A leaf stays in the level, or it would be nowhere.
        level = [m for n in level for m in (n.children or (n,))]
        above = [n for n in above if n.children]
    return best


def _transfers(tree, trunk, trunks, homes, bfloat16):
    sizes = {
        (n.name, i): tensor_bytes(x.shape, sent_as(x.dtype, bfloat16))
        for n in tree.nodes()
        for i, x in enumerate(n.model.outputs)
    }
    image = sum(tensor_bytes(x.shape, x.dtype) for x in tree.model.inputs)
    share = 1 / len(trunks) if trunk == "shard" else 1.0
    for d in trunks:
        yield Transfer(-1, d, "images", image * share)
    sent = set()
    for node in tree.nodes():
        if node.name == tree.trunk.name:
            continue
        here = homes[node.name]
        for feed in node.feeds:
            key = (feed.source, feed.index, here)
            if key in sent:
                continue
            sent.add(key)
            if feed.source is None:
                continue
            size = sizes[feed.source, feed.index]
            if feed.source != tree.trunk.name:
                sources = [homes[feed.source]]
            elif trunk == "replicate":
                sources = [here]
            else:
                sources = list(trunks)
            for d in sources:
                if d != here:
                    yield Transfer(d, here, feed.source, size / len(sources))


def tensor_bytes(shape: Sequence[int | None], dtype: str) -> int:
    """Counts the bytes of one example of a tensor (B, ...)."""
    return math.prod(shape[1:]) * np.dtype(dtype).itemsize  # Keras has registered bfloat16


def sent_as(dtype: str, bfloat16: bool) -> str:
    """Type of a tensor where layers of float32 may compute in bfloat16."""
    return "bfloat16" if bfloat16 and dtype == "float32" else dtype
