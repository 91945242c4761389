"""From a model with blocks of zeros to parts on several devices that exchange what is left."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np

from splitnet_tf.graph.calls import Call, unused
from splitnet_tf.graph.channel_devices import place_channels
from splitnet_tf.graph.copying import apply_call, one_or_all
from splitnet_tf.graph.ends import finish_model, make_inputs
from splitnet_tf.graph.messages import Messages
from splitnet_tf.graph.slicing import run_calls, sliced
from splitnet_tf.graph.taking import take_channels
from splitnet_tf.graph.trace import trace
from splitnet_tf.parallel.divided_model import DividedModel, part_name
from splitnet_tf.splitting.tree import HEAD


def divide_model(
    model: keras.Model,
    num_devices: int = 2,
    placement: Mapping[str, Sequence[Sequence[int]]] | None = None,
) -> DividedModel:
    """Divides a model between devices, which exchange only channels that some weight reads.

    A channel of device i is sent to device j only if a weight of j's that is not zero reads it. So
    zeros in the blocks of kernels between devices (``SparsityPlan(blocks=...)``) save messages, and
    with none of these blocks left each device computes its outputs alone, as a tree of branches
    does. The parts are stock Keras layers.

    Args:
      model: functional ``keras.Model``; it is left as it is.
      num_devices: int, 2 or more. Defaults to 2.
      placement: channels of each device in each channel space, see ``place_channels``. Defaults to
        contiguous parts of equal size.

    Returns:
      A ``DividedModel``; it computes what ``model`` computes. ``place`` runs it on devices. Its
      ``notes`` name the layers that need all channels, which every device is sent.

    Raises:
      ArgumentError: too few devices, or a placement that does not fit the model.
      PlanError: the model has no graph, or Keras cannot make a layer again.

    >>> net = sn.models.mlp((6,), num_classes=4, input_shape=(3,))
    >>> divided = sn.divide_model(net, num_devices=2)
    >>> [node.name for node in divided.nodes()]
    ['part_0_0', 'part_1_0', 'part_0_1', 'part_1_1', 'head']
    >>> divided.bytes_crossing  # three features each way, two logits
    32
    """
    traced = trace(model)
    plan = Messages(traced, place_channels(traced, num_devices, placement))
    return _Divider(plan).divide(model.name)


class _Divider:
    """Builds the parts level by level: a part ends where a device waits for channels."""

    def __init__(self, plan: Messages):
        self.plan, self.trace, self.graph = plan, plan.trace, plan.trace.graph
        self.sent = {(m.tensor, m.source, m.target): m.channels for m in plan.messages_between}
        self.levels: dict[tuple[int, int], int] = {}  # (tensor, device) to the part that makes it
        self.calls: dict[tuple[int, int], list[Call]] = {}  # (level, device) to its calls
        for call in self.graph.calls:
            for device in range(plan.devices.num_devices):
                if call.name not in plan.last and plan.wants(call, device):
                    level = self._level(call, device)
                    self.calls.setdefault((level, device), []).append(call)
                    self.levels.update({(t, device): level for t in call.outputs})

    def _level(self, call: Call, device: int) -> int:
        level = 0
        for t in call.inputs:
            level = max(level, self.levels.get((t, device), 0))
            for source in self._sources(call, t, device):
                level = max(level, self.levels[t, source] + 1)
        return level

    def _sources(self, call: Call, tensor: int, device: int) -> list[int]:
        """Devices whose channels a call reads."""
        read = self.plan.read(call, tensor, device)
        missing = np.setdiff1d(read, self.plan.held(tensor, device))
        return np.unique(self.plan.labels(tensor)[missing]).tolist()

    def divide(self, name: str) -> DividedModel:
        parts = sorted(self.calls)
        names = {part_name(device, level) for level, device in parts}
        ends = make_inputs(self.graph, {*names, HEAD})
        # What a part reads: (tensor, device that makes it, device that it is for); for the head -1.
        flow: dict[tuple, Any] = {(t, None, None): x for t, x in ends.items()}
        for level, device in parts:
            flow.update(self._run_part(level, device, flow))
        tensors = {**ends, **self._run_head(flow)}
        return DividedModel(finish_model(self.graph, tensors, name), self._notes())

    def _notes(self) -> list[str]:
        """Sentences on the layers that are not divided, and on layers that are copied."""
        notes = [
            f"layer '{call.layer_name}' needs all channels: each device is sent them and computes "
            "all of it"
            for call in self.graph.calls
            if call.name in self.plan.repeated
        ]
        uses: dict[int, set[tuple[int, int]]] = {}
        for part, calls in self.calls.items():
            for call in calls:
                uses.setdefault(id(call.op), set()).add(part)
        shared = {c.layer_name: c for c in self.graph.calls if "#" in c.name}
        for name, call in shared.items():
            devices = [device for _, device in uses.get(id(call.op), ())]
            if len(set(devices)) < len(devices) and getattr(call.op, "weights", None):
                notes.append(
                    f"layer '{name}' is used in several places: parts of one device have copies "
                    "of it, which training makes different"
                )
        return notes

    # Parts.

    def _keys(self, call: Call, device: int) -> list[tuple]:
        """Keys of the channels that a call on a device reads, its own first."""
        keys = []
        for t in call.inputs:
            if t in self.graph.inputs:
                keys.append((t, None, None))
                continue
            if (t, device) in self.levels:
                keys.append((t, device, device))
            keys += [(t, source, device) for source in self._sources(call, t, device)]
        return keys

    def _channels(self, key: tuple) -> np.ndarray:
        """Channels that a flow holds."""
        tensor, source, target = key
        if source is None:
            return np.arange(self.trace.size(tensor))
        if target is None:
            return self.plan.part(tensor, source)
        if source == target:
            return self.plan.held(tensor, source)
        return self.sent[tensor, source, target]

    def _run_part(self, level: int, device: int, flow: dict) -> dict:
        calls = self.calls[level, device]
        own = {t for call in calls for t in call.outputs}
        read = dict.fromkeys(
            key
            for call in calls
            for key in self._keys(call, device)
            if key[0] not in own or key[1] != device
        )
        inputs, names = [], set()
        for key in read:
            inputs.append(self._input(key, unused(self._name(key), names)))
        inside = dict(zip(read, inputs, strict=True))
        made: dict[int, Any] = {}
        for call in calls:
            self._run_call(call, level, device, inside, made)
        handed = {
            key: take_channels(
                inside[key[0], device, device],
                self.plan.held(key[0], device),
                self._channels(key),
                self.trace.layouts[key[0]],
            )
            for key in self._handed(level, device)
        }
        model = keras.Model(
            one_or_all(inputs), list(handed.values()), name=part_name(device, level)
        )
        outputs = keras.tree.flatten(model(one_or_all([flow[key] for key in read])))
        return dict(zip(handed, outputs, strict=True))

    def _run_call(self, call: Call, level: int, device: int, inside: dict, made: dict) -> None:
        """Runs a call on the channels that it reads, with a layer cut to them."""
        plan = self.plan
        ins = [plan.read(call, t, device) for t in call.inputs]
        outs = [plan.held(t, device) for t in call.outputs]
        tensors = {}
        for t, wanted in zip(call.inputs, ins, strict=True):
            keys = [key for key in self._keys(call, device) if key[0] == t]
            tensors[t] = self._together(t, dict.fromkeys(keys), wanted, inside)
        weights = []
        if id(call.op) not in made:
            name = f"{part_name(device, level)}_{call.layer_name}"
            made[id(call.op)], weights = sliced(self.trace, call, name, ins, outs, {})
        apply_call(call, made[id(call.op)], tensors)
        if weights:  # the call has built the layer
            made[id(call.op)].set_weights(weights)
        inside.update({(t, device, device): tensors[t] for t in call.outputs})

    def _together(self, tensor: int, keys, wanted: np.ndarray, inside: dict) -> Any:
        """Puts channels of several devices side by side, in the order in which they are wanted."""
        layout, pieces, order = self.trace.layouts[tensor], [], []
        for key in keys:
            here = self._channels(key)
            chosen = wanted[np.isin(wanted, here)]
            chosen = chosen[~np.isin(chosen, np.concatenate([np.zeros(0, int), *order]))]
            if len(chosen):
                pieces.append(take_channels(inside[key], here, chosen, layout))
                order.append(chosen)
        if len(pieces) == 1:
            return pieces[0]
        joined = keras.ops.concatenate(pieces, axis=layout.axis)
        return take_channels(joined, np.concatenate(order), wanted, layout)

    def _handed(self, level: int, device: int) -> list[tuple]:
        """Keys of the channels that a part hands to later parts and to the head."""
        here = [t for (t, d), at in self.levels.items() if d == device and at == level]
        later = {
            key
            for (at, d), calls in self.calls.items()
            if d == device and at > level
            for call in calls
            for key in self._keys(call, d)
        }
        collected = set(self.plan.collected())
        found = []
        for t in here:
            found += [(t, device, device)] if (t, device, device) in later else []
            found += [key for key in self.sent if key[:2] == (t, device)]
            if t in collected and len(self.plan.part(t, device)):
                found.append((t, device, None))
        return found

    # The head.

    def _run_head(self, flow: dict) -> dict[int, Any]:
        plan, count = self.plan, range(self.plan.devices.num_devices)
        last = [c for c in self.graph.calls if c.name in plan.last]
        wanted = dict.fromkeys([*(t for c in last for t in c.inputs), *plan.collected()])
        read: dict[tuple, None] = {}
        for t in wanted:
            if t in self.graph.inputs:
                read[t, None, None] = None
            elif t in plan.collected():
                read.update({(t, d, None): None for d in count if len(plan.part(t, d))})
        inputs, names = [], set()
        for key in read:
            inputs.append(self._input(key, unused(self._name(key), names)))
        pieces, inside = dict(zip(read, inputs, strict=True)), {}
        for t in dict.fromkeys(key[0] for key in read):
            keys = [key for key in read if key[0] == t]
            inside[t] = self._together(t, keys, np.arange(self.trace.size(t)), pieces)
        run_calls(self.trace, last, lambda t: np.arange(self.trace.size(t)), inside, f"{HEAD}_")
        outputs = [t for t in dict.fromkeys(self.graph.outputs) if t not in self.graph.inputs]
        head = keras.Model(one_or_all(inputs), [inside[t] for t in outputs], name=HEAD)
        made = keras.tree.flatten(head(one_or_all([flow[key] for key in read])))
        return dict(zip(outputs, made, strict=True))

    # Names.

    def _input(self, key: tuple, name: str) -> Any:
        tensor = key[0]
        shape = list(self.graph.shapes[tensor])
        if shape[self.trace.layouts[tensor].axis] is not None:
            shape[self.trace.layouts[tensor].axis] = len(self._channels(key))
        return keras.Input(batch_shape=shape, dtype=self.graph.dtypes[tensor], name=name)

    def _name(self, key: tuple) -> str:
        tensor, source, _ = key
        if source is None:
            return self.graph.input_names[self.graph.inputs.index(tensor)]
        return f"{self.graph.names[tensor].replace('#', '_')}_of_{source}"
