"""Tracing: the channel spaces of a functional model."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable

import keras

from splitnet_tf.errors import PlanError
from splitnet_tf.graph import kernel_rules, layer_rules, shape_rules  # noqa: F401
from splitnet_tf.graph.calls import Call, Graph, mask_of
from splitnet_tf.graph.keras_reader import read_graph
from splitnet_tf.graph.opaque_rules import OPAQUE
from splitnet_tf.graph.rules import LayerRule, OpaqueCall, TraceContext, rule_for
from splitnet_tf.graph.spaces import Layout, Space, SpaceBook


@dataclasses.dataclass(frozen=True)
class Trace:
    """Channel spaces of a graph.

    Attributes:
      graph: ``Graph`` traced.
      layouts: tensor id to the layout of its channel axis.
      spaces: spaces, by the ids that the layouts use.
      kernels: names of the calls whose kernel can be split.
      whole: names of the calls that need all their channels at once.
      ordered: names among ``whole`` of the calls that need the original order as well.
      divisible: names of the calls that are whole, or else run in units of channels.
      in_units: names among ``divisible`` of the calls that were to run in units; those that could
        not are whole all the same.
      opaque: names among ``ordered`` of the calls that no rule describes, with the reason.
      locked: names among ``opaque`` of the calls whose kernel could be split but for what has been
        done to it: it is quantized, or LoRA is switched on.
      model: ``keras.Model`` traced.
    """

    graph: Graph
    layouts: dict[int, Layout]
    spaces: tuple[Space, ...]
    kernels: frozenset[str]
    whole: frozenset[str]
    ordered: frozenset[str]
    divisible: frozenset[str]
    in_units: frozenset[str]
    opaque: dict[str, str]
    locked: frozenset[str]
    model: keras.Model = dataclasses.field(repr=False, compare=False)

    def shows(self, model: keras.Model) -> bool:
        """True while this is the trace of ``model``: it is that object, locked no more since."""
        return self.model is model and not any(
            _lock(call) and call.name not in self.opaque for call in self.graph.calls
        )

    def rule(self, call: Call) -> LayerRule:
        """Returns the rule by which ``call`` is sliced."""
        return OPAQUE if call.name in self.opaque else rule_for(call.op, call.name)

    def size(self, tensor: int) -> int:
        """Counts the channels of a tensor."""
        layout = self.layouts[tensor]
        members = zip(layout.spaces, layout.widths, strict=True)
        return sum(self.spaces[s].size * width for s, width in members)

    def again(self, in_units: frozenset[str]) -> Trace:
        """Traces the same model with the calls named in units."""
        return self if in_units == self.in_units else _trace(self.model, self.graph, in_units)

    def by_channel(self, call: Call) -> bool:
        """True when a call makes each channel from the same channel of its inputs alone.

        All tensors have the same spaces, on their last axis.
        """
        tensors = (*call.inputs, *call.outputs)
        spaces = {self.layouts[t].spaces for t in tensors}
        last = all(self.layouts[t].axis == len(self.graph.shapes[t]) - 1 for t in tensors)
        kinds = (self.kernels, self.whole, self.divisible)
        alone = all(call.name not in names for names in kinds)
        return alone and last and len(spaces) == 1

    def broadcast(self, call: Call) -> frozenset[int]:
        """Finds the input tensors of ``call`` that every branch reads whole.

        They are a mask of the positions, or have one channel that the wider inputs share.
        """
        mask = mask_of(call)
        if mask is not None and call.name not in self.whole:
            return frozenset([mask])
        if not isinstance(self.rule(call), shape_rules.JoinRule):
            return frozenset()
        width = self.size(call.outputs[0])
        return frozenset(t for t in call.inputs if self.size(t) == 1 < width)


def trace(model: keras.Model, in_units: Iterable[str] = ()) -> Trace:
    """Finds which tensors of a functional model must share one channel order.

    Args:
      model: functional ``keras.Model``.
      in_units: names of calls, such as convolutions of several groups, that are to run in units of
        channels where they can. Defaults to none: they need all channels.

    Raises:
      UnknownLayerError: a layer has no rule.
      PlanError: the model has no graph, or a layer joins unequal channels.
    """
    return _trace(model, read_graph(model), frozenset(in_units))


def _trace(model: keras.Model, graph: Graph, in_units: frozenset[str]) -> Trace:
    book = SpaceBook()
    layouts: dict[int, Layout] = {}
    for t in graph.inputs:
        shape = graph.shapes[t]
        axis = _input_axis(graph, t)
        layouts[t] = Layout(axis, (book.new(graph.names[t], shape[axis] or 0),))
    kernels, whole, ordered, divisible, opaque, locked = set(), set(), set(), set(), {}, set()
    first_call: dict[int, Call] = {}
    for call in graph.calls:
        rule = rule_for(call.op, call.name)
        ctx = TraceContext(
            call.name,
            call.op,
            call.args,
            call.kwargs,
            tuple(layouts[t] for t in call.inputs),
            tuple(graph.shapes[t] for t in call.inputs),
            tuple(graph.shapes[t] for t in call.outputs),
            book,
        )
        try:
            if _lock(call):
                raise OpaqueCall(_lock(call))
            unit = rule.units(ctx)
            if unit is not None:
                divisible.add(call.name)
                tied = call.name in in_units and book.tie(ctx.inputs[0].spaces, unit)
                ctx = dataclasses.replace(ctx, tied=tied)
            made = rule.trace(ctx)
            is_whole = rule.is_whole(ctx)
        except OpaqueCall as reason:
            opaque[call.name] = str(reason)
            if _lock(call) and rule.has_kernel(call.op):
                locked.add(call.name)
            rule, is_whole = OPAQUE, True
            made = rule.trace(ctx)
        if is_whole:
            whole.add(call.name)
            if rule.ordered:
                ordered.add(call.name)
        elif rule.has_kernel(call.op):
            kernels.add(call.name)
        layouts.update(zip(call.outputs, made, strict=True))
        earlier = first_call.setdefault(id(call.op), call)
        if earlier is not call and getattr(call.op, "weights", None):
            # A layer used twice has one set of weights, so one order for each of its sides.
            for s, t in zip(_sides(earlier), _sides(call), strict=True):
                try:
                    ctx.unify(layouts[s], layouts[t])
                except OpaqueCall as reason:
                    raise PlanError(
                        f"Layer '{call.name}' is used in several places and {reason}; start the "
                        "sections above it."
                    ) from None
    final, spaces = book.final(layouts)
    return Trace(
        *(graph, final, spaces, frozenset(kernels), frozenset(whole), frozenset(ordered)),
        *(frozenset(divisible), in_units, opaque, frozenset(locked), model),
    )


def _lock(call: Call) -> str:
    """Reason why no weights of a layer can be cut out, empty where there is none."""
    if getattr(call.op, "quantization_mode", None):
        return "is quantized; split the model first, then quantize the tree"
    if getattr(call.op, "lora_enabled", False):
        return "has LoRA switched on; split the model first, then call enable_lora on the tree"
    return ""


def _sides(call: Call) -> list[int]:
    """Tensors whose channels a call's weights have; a mask has none."""
    mask = mask_of(call)
    return [t for t in (*call.inputs, *call.outputs) if t != mask]


def _input_axis(graph: Graph, tensor: int) -> int:
    """Channel axis of a model input, as the first layers that read it understand it."""
    rank, consumers = len(graph.shapes[tensor]), graph.consumers()
    queue, seen = [tensor], {tensor}
    for t in queue:
        for i in consumers.get(t, ()):
            call = graph.calls[i]
            if getattr(call.op, "data_format", None) in ("channels_first", "channels_last"):
                return 1 if call.op.data_format == "channels_first" and rank > 2 else rank - 1
            if all(len(graph.shapes[u]) == rank for u in call.outputs):
                queue.extend(u for u in call.outputs if u not in seen)
                seen.update(call.outputs)
    return rank - 1
