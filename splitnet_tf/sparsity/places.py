"""Layers by their place in the graph: the last ones, and those with a way around them."""

from __future__ import annotations

from splitnet_tf.graph.trace import Trace
from splitnet_tf.sparsity.weight_axes import kernels_of


def last_layers(traced: Trace) -> set[str]:
    """Layers with kernels that make the model's outputs, with nothing but other layers between."""
    graph, producers = traced.graph, traced.graph.producers()
    found, queue = set(), list(graph.outputs)
    for t in queue:
        if t not in producers:
            continue
        call = graph.calls[producers[t]]
        if kernels_of(traced, call):
            found.add(call.layer_name)
        else:
            queue.extend(u for u in call.inputs if u not in queue)
    return found


def deep_layers(traced: Trace) -> set[str]:
    """Layers with kernels on a longest path through the model that have a way around them.

    The convolutions of residual blocks are such layers; a network's first layer and the projections
    of shortcuts are not.
    """
    graph = traced.graph
    producers, consumers = graph.producers(), graph.consumers()
    weight = [1 if kernels_of(traced, call) else 0 for call in graph.calls]
    before = _longest(graph.calls, weight, lambda c: [producers.get(t) for t in c.inputs])
    after = _longest(
        graph.calls, weight, lambda c: [i for t in c.outputs for i in consumers.get(t, ())], True
    )
    longest = max(before, default=0)
    return {
        call.layer_name
        for i, call in enumerate(graph.calls)
        if weight[i] and before[i] + after[i] - 1 == longest and _has_way_around(traced, i)
    }


def _longest(calls, weight, neighbours, backwards=False) -> list[int]:
    """Kernels on the longest path that ends at each call, itself counted."""
    best = [0] * len(calls)
    order = range(len(calls))
    for i in reversed(order) if backwards else order:
        best[i] = weight[i] + max(
            (best[j] for j in neighbours(calls[i]) if j is not None), default=0
        )
    return best


def _has_way_around(traced: Trace, without: int) -> bool:
    """Tells if the outputs can be reached from the inputs without one call."""
    reached = set(traced.graph.inputs)
    for i, call in enumerate(traced.graph.calls):
        if i != without and reached & set(call.inputs):
            reached.update(call.outputs)
    return all(t in reached for t in traced.graph.outputs)
