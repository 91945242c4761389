"""Messages between devices: which channels one of them must send so that another can go on.

Each device makes its own channels of every space. A kernel reads its device's channels and those
of another device that some weight of it which is not zero reads: they are sent. A call that needs
all channels at once is computed by every device, after everything has been sent to it, unless
nothing with a kernel follows: then it runs once, where the outputs are put together.
"""

from __future__ import annotations

import dataclasses
import functools
import math

import numpy as np
from keras import ops

from splitnet_tf.graph.calls import Call
from splitnet_tf.graph.channel_devices import EVERYWHERE, ChannelDevices
from splitnet_tf.graph.rules import in_out
from splitnet_tf.graph.trace import Trace

HOME = 0  # device that puts the outputs together


@dataclasses.dataclass(frozen=True, eq=False)
class Message:
    """Channels of a tensor that one device sends to another.

    Attributes:
      tensor: int, id of the tensor in the trace.
      source, target: int, devices.
      channels: int array, ascending indices into the channel axis of the tensor.
      bytes: int, for one example; None where the size of the tensor is not known.
    """

    tensor: int
    source: int
    target: int
    channels: np.ndarray
    bytes: int | None


class Messages:
    """Work and messages of each device, in a model whose channels are on several devices.

    Args:
      traced: trace of the model.
      devices: ``ChannelDevices`` of the model.
      every_block: bool, whether blocks of zeros are taken for others. Defaults to False.

    Attributes:
      last: names of the calls that run where the outputs are put together.
      repeated: names of the calls that every device computes whole.
    """

    def __init__(self, traced: Trace, devices: ChannelDevices, every_block: bool = False):
        self.trace, self.devices = traced, devices
        self._every_block = every_block
        self.last = _last_calls(traced)
        self.repeated = frozenset(
            c.name for c in traced.graph.calls if c.name in traced.whole and c.name not in self.last
        )
        self._whole = {
            t for c in traced.graph.calls if c.name in self.repeated for t in c.outputs
        } | set(traced.graph.inputs)
        self._labels: dict[int, np.ndarray] = {}
        self._used: dict[str, np.ndarray] = {}
        self._wanted: set[tuple[int, int]] = set()
        self._sent: dict[tuple[int, int, int], set[int]] = {}
        self._find()

    # Channels.

    def labels(self, tensor: int) -> np.ndarray:
        """Device of each channel of a tensor, see ``ChannelDevices.labels``."""
        if tensor not in self._labels:
            self._labels[tensor] = self.devices.labels(self.trace, tensor)
        return self._labels[tensor]

    def own(self, tensor: int, device: int) -> np.ndarray:
        """Channels that a device works on: its own, and those that every device has."""
        labels = self.labels(tensor)
        return np.flatnonzero((labels == device) | (labels == EVERYWHERE))

    def held(self, tensor: int, device: int) -> np.ndarray:
        """Channels that a device has without any message."""
        if tensor in self._whole:
            return np.arange(self.trace.size(tensor))
        return self.own(tensor, device)

    def read(self, call: Call, tensor: int, device: int) -> np.ndarray:
        """Channels of an input that a call reads on a device: its own, then those of others."""
        size = self.trace.size(tensor)
        if call.name in self.repeated or tensor in self.trace.broadcast(call):
            return np.arange(size)
        own = self.own(tensor, device)
        if call.name not in self.trace.kernels:
            return own
        used = self._reads(call)[:, self.own(call.outputs[0], device)].any(axis=1)
        used[own] = False
        others = np.flatnonzero(used)
        labels = self.labels(tensor)
        return np.concatenate([own, others[np.argsort(labels[others], kind="stable")]])

    def _reads(self, call: Call) -> np.ndarray:
        """True where a weight that is not zero joins an input to an output, bool (in, out)."""
        if call.name not in self._used:
            self._used[call.name] = self._read_kernel(call)
        return self._used[call.name]

    def _read_kernel(self, call: Call) -> np.ndarray:
        ins, outs = (self.trace.size(t) for t in (call.inputs[0], call.outputs[0]))
        if self._every_block:
            return np.ones((ins, outs), bool)
        kernel = in_out(call.op, self.trace.rule(call).kernel_of(call.op))
        used = ops.convert_to_numpy(kernel) != 0
        used = used.any(axis=tuple(range(used.ndim - 2)))
        return used.reshape(ins, -1, outs).any(axis=1)

    # Who needs what.

    def wants(self, call: Call, device: int) -> bool:
        """True when a device, another one or the end needs what a call makes on the device."""
        return any((t, device) in self._wanted for t in call.outputs)

    def collected(self) -> list[int]:
        """Tensors that are put together at the end, in order."""
        graph = self.trace.graph
        made = {t for c in graph.calls if c.name in self.last for t in c.outputs}
        reads = [t for c in graph.calls if c.name in self.last for t in c.inputs]
        found = dict.fromkeys([*reads, *graph.outputs])
        return [t for t in found if t not in made and t not in graph.inputs]

    def part(self, tensor: int, device: int) -> np.ndarray:
        """Channels of a collected tensor that a device hands in: each channel once."""
        if tensor in self._whole:
            return np.arange(self.trace.size(tensor) if device == HOME else 0)
        labels = self.labels(tensor)
        return np.flatnonzero((labels == device) | ((labels == EVERYWHERE) & (device == HOME)))

    def _find(self) -> None:
        count = range(self.devices.num_devices)
        for t in self.collected():
            self._wanted |= {(t, d) for d in count if len(self.part(t, d))}
        for call in reversed(self.trace.graph.calls):
            if call.name in self.last:
                continue
            for device in (d for d in count if self.wants(call, d)):
                for t in call.inputs:
                    self._need(t, self.read(call, t, device), device)

    def _need(self, tensor: int, channels: np.ndarray, device: int) -> None:
        held = self.held(tensor, device)
        missing = np.setdiff1d(channels, held)
        if len(missing) < len(channels):
            self._wanted.add((tensor, device))
        labels = self.labels(tensor)[missing]
        for source in np.unique(labels).tolist():
            self._wanted.add((tensor, source))
            sent = self._sent.setdefault((tensor, source, device), set())
            sent |= set(missing[labels == source].tolist())

    @functools.cached_property
    def messages_between(self) -> tuple[Message, ...]:
        """Messages without which devices cannot go on, in the order of their tensors."""
        return tuple(
            self._message(t, source, target, np.array(sorted(channels)))
            for (t, source, target), channels in sorted(self._sent.items())
        )

    @property
    def messages(self) -> tuple[Message, ...]:
        """All messages: those between devices, then those that put the outputs together."""
        found = list(self.messages_between)
        for t in self.collected():
            parts = ((d, self.part(t, d)) for d in range(self.devices.num_devices) if d != HOME)
            found += [self._message(t, d, HOME, part) for d, part in parts if len(part)]
        return tuple(found)

    def _message(self, tensor: int, source: int, target: int, channels: np.ndarray) -> Message:
        shape, axis = self.trace.graph.shapes[tensor], self.trace.layouts[tensor].axis
        places = [n for i, n in enumerate(shape) if i not in (0, axis)]
        size = None
        if None not in places:
            item = np.dtype(self.trace.graph.dtypes[tensor]).itemsize  # Keras registers bfloat16
            size = len(channels) * math.prod(places) * item
        return Message(tensor, source, target, channels, size)

    @property
    def bytes(self) -> int | None:
        """Bytes between devices for one example; None where they are not known."""
        sizes = [m.bytes for m in self.messages]
        return None if None in sizes else sum(sizes)


def _last_calls(traced: Trace) -> frozenset[str]:
    """Calls that need all channels and all that follows them, where no weights follow."""
    calls, consumers = traced.graph.calls, traced.graph.consumers()
    heavy: dict[str, bool] = {}
    for call in reversed(calls):
        readers = (calls[i].name for t in call.outputs for i in consumers.get(t, ()))
        heavy[call.name] = bool(getattr(call.op, "weights", None)) or any(map(heavy.get, readers))
    found, made = set(), set()
    for call in calls:
        if (call.name in traced.whole and not heavy[call.name]) or made & set(call.inputs):
            found.add(call.name)
            made |= set(call.outputs)
    return frozenset(found)
