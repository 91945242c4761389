"""Tracing: the channel spaces of a functional model."""

from __future__ import annotations

import dataclasses

import keras

from splitnet_tf.graph import kernel_rules, layer_rules, shape_rules  # noqa: F401
from splitnet_tf.graph.keras_graph import Call, Graph, read_graph
from splitnet_tf.graph.rules import LayerRule, TraceContext, rule_for
from splitnet_tf.graph.spaces import Layout, Space, SpaceBook


@dataclasses.dataclass(frozen=True)
class Trace:
    """The channel spaces of a graph.

    Attributes:
      graph: the graph traced.
      layouts: tensor id to the layout of its channel axis.
      spaces: the spaces, by the ids that the layouts use.
      whole: names of the calls that need all their channels at once.
      ordered: those among them that need the original order as well.
    """

    graph: Graph
    layouts: dict[int, Layout]
    spaces: tuple[Space, ...]
    whole: frozenset[str]
    ordered: frozenset[str]

    def rule(self, call: Call) -> LayerRule:
        return rule_for(call.op, call.name)

    def size(self, tensor: int) -> int:
        """Channels of a tensor."""
        return sum(self.spaces[s].size for s in self.layouts[tensor].spaces)

    def broadcast(self, call: Call) -> frozenset[int]:
        """Input tensors of ``call`` with one channel that its wider inputs share."""
        if not isinstance(self.rule(call), shape_rules.JoinRule):
            return frozenset()
        width = self.size(call.outputs[0])
        return frozenset(t for t in call.inputs if self.size(t) == 1 < width)


def trace(model: keras.Model) -> Trace:
    """Finds which tensors of a functional model must share one channel order.

    Raises:
      UnknownLayerError: a layer has no rule.
      PlanError: the model has no graph, or a layer joins unequal channels.
    """
    graph = read_graph(model)
    book = SpaceBook()
    layouts: dict[int, Layout] = {}
    for t in graph.inputs:
        shape = graph.shapes[t]
        axis = len(shape) - 1
        if keras.config.image_data_format() == "channels_first" and len(shape) > 2:
            axis = 1
        layouts[t] = Layout(axis, (book.new(graph.names[t], shape[axis] or 0),))
    whole, ordered = set(), set()
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
        made = rule.trace(ctx)
        if rule.is_whole(ctx):
            whole.add(call.name)
            if rule.ordered or rule.kernel:
                ordered.add(call.name)
        layouts.update(zip(call.outputs, made, strict=True))
        earlier = first_call.setdefault(id(call.op), call)
        if earlier is not call and getattr(call.op, "weights", None):
            # A layer used twice has one set of weights, so one order for each of its sides.
            for s, t in zip(
                (*earlier.inputs, *earlier.outputs), (*call.inputs, *call.outputs), strict=True
            ):
                ctx.unify(layouts[s], layouts[t])
    final, spaces = book.final(layouts)
    return Trace(graph, final, spaces, frozenset(whole), frozenset(ordered))
