"""Removal: which channels and calls a model can do without, exactly.

A channel of a space can go when every layer with a kernel that reads it ignores it (zero weights),
or finds a constant there that its bias can take. A branch whose tensor is constant can go with the
sum (or the product) that it enters. What must stay is found by starting from what may stay and
adding what the outputs need, until nothing more is needed.
"""

from __future__ import annotations

import dataclasses

import numpy as np
from keras import layers

from splitnet_tf.graph.calls import Call
from splitnet_tf.graph.keras_reader import operation_key
from splitnet_tf.graph.shape_rules import ConcatenateRule
from splitnet_tf.graph.trace import Trace
from splitnet_tf.sparsity.constants import constant_channels
from splitnet_tf.sparsity.kernel_views import KernelView, kernel_views
from splitnet_tf.sparsity.weight_axes import channels_of_spaces, kernels_of

UNFOLDED = "reads a constant that cannot be folded"


@dataclasses.dataclass(frozen=True, eq=False)
class Findings:
    """Facts that the weights of a model tell, before anything is chosen.

    Attributes:
      trace: of the model.
      views: ``KernelView`` of each call with a kernel that mixes channels, by name.
      constants: see ``constant_channels``.
    """

    trace: Trace
    views: dict[str, KernelView]
    constants: dict[int, np.ndarray]

    @classmethod
    def of(cls, traced: Trace) -> Findings:
        """Looks at the weights as they are now."""
        views = kernel_views(traced)
        return cls(traced, views, constant_channels(traced, views))


@dataclasses.dataclass(frozen=True, eq=False)
class Remains:
    """Channels and calls of a model that stay.

    Attributes:
      kept: for each space of the trace bool (size,).
      calls: names of the calls that stay.
      operands: name of a sum or product to the inputs that stay, where constant ones go.
      reasons: (space, channel) to what needs a channel that had been given up.
    """

    kept: tuple[np.ndarray, ...]
    calls: frozenset[str]
    operands: dict[str, tuple[int, ...]]
    reasons: dict[tuple[int, int], str]

    def channels(self, traced: Trace, tensor: int) -> np.ndarray:
        """Indices of the channels of a tensor that stay."""
        return np.flatnonzero(self.alive(traced, tensor))

    def alive(self, traced: Trace, tensor: int) -> np.ndarray:
        """Tells for each channel of a tensor if it stays."""
        parts = [self.kept[s] for s in traced.layouts[tensor].spaces]
        return np.concatenate([*parts, np.zeros(0, bool)])


def what_remains(
    findings: Findings,
    kept: list[np.ndarray] | None = None,
    gone: frozenset[str] | None = None,
) -> Remains:
    """Finds what must stay so that the model computes what it does.

    Args:
      findings: of the model.
      kept: for each space bool (size,), channels that stay in any case; none by default.
      gone: names of the layers that may go with a constant branch; all by default.
    """
    return _Closure(findings, kept, gone).run()


def join_kind(call: Call) -> str | None:
    """``"add"`` or ``"multiply"`` for a call that a constant operand can leave, else None."""
    for kind, layer in (("add", layers.Add), ("multiply", layers.Multiply)):
        if type(call.op) is layer or operation_key(call.op) == f"ops.{kind.capitalize()}":
            return kind if len(set(call.inputs)) == len(call.inputs) > 1 else None
    return None


class _Closure:
    def __init__(self, findings: Findings, kept, gone):
        self.trace, self.views, self.values = findings.trace, findings.views, findings.constants
        sizes = [space.size for space in self.trace.spaces]
        self.kept = [np.zeros(n, bool) for n in sizes] if kept is None else [k.copy() for k in kept]
        self.gone = gone
        self.reasons: dict[tuple[int, int], str] = {}
        self.changed = True
        self.producers = self.trace.graph.producers()
        uses = [c.op for c in self.trace.graph.calls]
        self.shared = {id(op) for i, op in enumerate(uses) if any(o is op for o in uses[:i])}

    def run(self) -> Remains:
        graph = self.trace.graph
        for t in graph.inputs:
            self._keep(t, "it is an input of the model")
        for t in graph.outputs:
            self._keep(t, "it is an output of the model")
        while self.changed:
            self.changed = False
            self.calls, self.operands, self.demanded = set(), {}, set(graph.outputs)
            for call in reversed(graph.calls):
                if any(t in self.demanded and self._lives(t) for t in call.outputs):
                    self.calls.add(call.name)
                    self.demanded.update(self._read(call))
        return Remains(tuple(self.kept), frozenset(self.calls), self.operands, self.reasons)

    def _read(self, call: Call) -> tuple[int, ...]:
        """Keeps the channels that a call needs; returns the tensors that it reads."""
        if call.name in self.trace.whole:
            for t in (*call.inputs, *call.outputs):
                self._keep(t, f"layer '{call.layer_name}' needs all of its channels")
            return call.inputs
        if call.name in self.views:
            self._keep_read(call)
            return call.inputs
        for t in self.trace.broadcast(call):
            self._keep(t, f"layer '{call.layer_name}' needs all of its channels")
        if isinstance(self.trace.rule(call), ConcatenateRule):
            return tuple(t for t in call.inputs if self._lives(t))
        if join_kind(call) is not None:
            return self._join(call)
        for t in call.inputs:
            self._keep_one(call, t)
        return call.inputs

    def _keep_read(self, call: Call) -> None:
        view, read, made = self.views[call.name], call.inputs[0], self._alive(call.outputs[0])
        shared = id(call.op) in self.shared  # its bias is read in several places
        values = self.values[read]
        needed = view.needs(values, made, foldable=not shared)
        constant = ~np.isnan(values)
        self._keep(read, f"layer '{call.layer_name}' reads it", needed & ~constant)
        why = "several layers share its bias" if shared else "it is padded with zeros"
        why = why if view.linear else "it may do anything with it"
        self._keep(read, f"layer '{call.layer_name}' {UNFOLDED}: {why}", needed & constant)
        self._keep_one(call, read)

    def _keep_one(self, call: Call, tensor: int) -> None:
        """Keeps a channel of a tensor that has none left."""
        if not self._lives(tensor):
            first = np.arange(self.trace.size(tensor)) == 0
            self._keep(tensor, f"layer '{call.layer_name}' must read something", first)

    def _join(self, call: Call) -> tuple[int, ...]:
        """The operands that stay: constant ones go, with the layers behind them."""
        made = call.outputs[0]
        layout, shapes = self.trace.layouts[made], self.trace.graph.shapes
        stay = [
            t
            for t in call.inputs
            if self.trace.layouts[t].spaces != layout.spaces
            or not self._constant(t)
            or not self._may_go(t)
        ]
        last = layout.axis == len(shapes[made]) - 1
        if (
            not last
            or len(stay) == len(call.inputs)
            or all(shapes[t] != shapes[made] for t in stay)
        ):
            return call.inputs
        self.operands[call.name] = tuple(stay)
        return tuple(stay)

    def _may_go(self, tensor: int) -> bool:
        """Tells if a constant tensor was given up: with a layer that makes it constant."""
        if self.gone is None:
            return True
        found, queue = set(), [tensor]
        for t in queue:
            if t not in self.producers:
                continue
            call = self.trace.graph.calls[self.producers[t]]
            if kernels_of(self.trace, call):
                found.add(call.layer_name)
            queue.extend(u for u in call.inputs if u not in queue and self._constant(u))
        return not found or bool(found & self.gone)

    def _constant(self, tensor: int) -> bool:
        return not np.isnan(self.values[tensor][self._alive(tensor)]).any()

    def _alive(self, tensor: int) -> np.ndarray:
        parts = [self.kept[s] for s in self.trace.layouts[tensor].spaces]
        return np.concatenate([*parts, np.zeros(0, bool)])

    def _lives(self, tensor: int) -> bool:
        """Tells if anything of a tensor stays; a tensor of unknown channels does."""
        return self.trace.size(tensor) == 0 or bool(self._alive(tensor).any())

    def _keep(self, tensor: int, reason: str, wanted: np.ndarray | None = None) -> None:
        space, index = channels_of_spaces(self.trace, tensor)
        wanted = np.ones(len(space), bool) if wanted is None else wanted
        for s in np.unique(space[wanted]):
            new = np.zeros(len(self.kept[s]), bool)
            new[index[wanted & (space == s)]] = True
            new &= ~self.kept[s]
            if new.any():
                self.kept[s] |= new
                self.changed = True
                self.reasons.update({(int(s), int(c)): reason for c in np.flatnonzero(new)})
