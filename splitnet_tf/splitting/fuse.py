"""Fused branches: branches of equal shape as grouped convolutions and batched products."""

from __future__ import annotations

import collections
import dataclasses

import keras
import numpy as np
from keras import layers

from splitnet_tf.errors import PlanError
from splitnet_tf.graph.calls import Call, Graph
from splitnet_tf.graph.copying import copy_layer
from splitnet_tf.graph.ends import finish_model, make_inputs
from splitnet_tf.graph.keras_reader import operation_key, read_graph
from splitnet_tf.graph.trace import Trace, trace
from splitnet_tf.splitting.tree import Node, SplitTree


def fuse_tree(tree: SplitTree) -> keras.Model:
    """Makes a model that computes what a tree computes, the branches of each level as one.

    The channels of a level's branches stand side by side: their convolutions become one with
    groups, their dense layers one batched product. For inference; weights are copied.

    Args:
      tree: ``SplitTree`` with branches of equal shape on each level (a balanced grouping), of
        channels-last layers.

    Raises:
      PlanError: branches that differ, or a layer that has no such form.
    """
    graph = read_graph(tree.model)
    ends = make_inputs(graph, [node.name for node in tree.nodes()])
    made = {(None, i): ends[t] for i, t in enumerate(graph.inputs)}
    _run(tree.trunk, made)
    level = list(tree.branches)
    while level:
        _fuse_level(level, made)
        level = [child for node in level for child in node.children]
    ends.update(zip(graph.outputs, _run(tree.head, made), strict=True))
    return finish_model(graph, ends, f"{tree.model.name}_fused")


@dataclasses.dataclass(frozen=True)
class _Part:
    """Channels ``index`` of ``count`` equal runs of a fused tensor."""

    tensor: object
    index: int
    count: int


def _run(node: Node, made: dict) -> list:
    """Calls a node that stands alone."""
    feeds = [_cut(made[f.source, f.index]) for f in node.feeds]
    found = node.model(feeds if len(feeds) > 1 else feeds[0])
    found = found if isinstance(found, (list, tuple)) else [found]
    made.update({(node.name, i): x for i, x in enumerate(found)})
    return list(found)


def _cut(value):
    if not isinstance(value, _Part):
        return value
    width = value.tensor.shape[-1] // value.count
    return value.tensor[..., value.index * width : (value.index + 1) * width]


def _fuse_level(nodes: list[Node], made: dict) -> None:
    """Runs the nodes of one level as one and stores the outputs of each as parts."""
    # Parts of one tensor in their order need no copy.
    first = [made[n.feeds[0].source, n.feeds[0].index] for n in nodes]
    if all(isinstance(p, _Part) for p in first):
        tensors = list(dict.fromkeys(id(p.tensor) for p in first))
        order = sorted(
            range(len(nodes)), key=lambda n: (tensors.index(id(first[n].tensor)), first[n].index)
        )
        nodes = [nodes[n] for n in order]
    traces = [trace(n.model) for n in nodes]
    graphs = [t.graph for t in traces]
    _check_equal(nodes, graphs)
    tensors = {
        t: _join([made[n.feeds[i].source, n.feeds[i].index] for n in nodes])
        for i, t in enumerate(graphs[0].inputs)
    }
    for calls in zip(*(g.calls for g in graphs), strict=True):
        feeds = [tensors[t] for t in calls[0].inputs]
        tensors[calls[0].outputs[0]] = _fused_call(calls, traces[0], feeds)
    for position, node in enumerate(nodes):
        for i, t in enumerate(graphs[0].outputs):
            made[node.name, i] = _Part(tensors[t], position, len(nodes))


def _join(values: list):
    """Tensors of all branches side by side."""
    whole, pieces = [], collections.deque(values)
    while pieces:
        first = pieces[0]
        run = list(pieces)[: first.count] if isinstance(first, _Part) else []
        if (
            run
            and all(
                isinstance(p, _Part) and p.tensor is first.tensor and p.index == i
                for i, p in enumerate(run)
            )
            and len(run) == first.count
        ):
            whole.append(first.tensor)
            for _ in run:
                pieces.popleft()
        else:
            whole.append(_cut(pieces.popleft()))
    return whole[0] if len(whole) == 1 else layers.Concatenate()(whole)


def _check_equal(nodes: list[Node], graphs: list[Graph]) -> None:
    for node, graph in zip(nodes[1:], graphs[1:], strict=True):
        same = graph.shapes == graphs[0].shapes and [
            (type(c.op), c.inputs, c.outputs) for c in graph.calls
        ] == [(type(c.op), c.inputs, c.outputs) for c in graphs[0].calls]
        if not same:
            raise PlanError(
                f"'{nodes[0].name}' and '{node.name}' differ in shape; only branches of equal "
                "shape can be fused (`method=balanced` makes them so)."
            )


def _fused_call(calls: tuple[Call, ...], traced: Trace, feeds: list):
    """One call for the calls of all branches; ``traced`` is of the first branch."""
    first, count = calls[0], len(calls)
    op, name, x = first.op, first.name, feeds[0]
    shape = traced.graph.shapes[first.inputs[0]]
    layer = isinstance(op, layers.Layer)
    weights = [c.op.get_weights() for c in calls] if layer else []
    if layer and traced.by_channel(first):
        if not op.weights:
            ins = [np.arange(count * traced.size(t)) for t in first.inputs]
            settings, _ = traced.rule(first).slice(op, ins, ins[:1])
            return copy_layer(op, name, settings)(feeds if len(feeds) > 1 else x)
        if type(op) is layers.BatchNormalization:
            return _apply(copy_layer(op, name, {}), x, _beside(weights))
    if first.name in traced.kernels and traced.layouts[first.inputs[0]].axis == len(shape) - 1:
        if type(op) in (layers.Conv1D, layers.Conv2D, layers.Conv3D):
            sizes = {"filters": count * op.filters, "groups": count, **first.overrides}
            return _apply(copy_layer(op, name, sizes), x, _beside(weights))
        if type(op) is layers.Dense and len(shape) == 2:
            return _batched_dense(first, count, shape, x, weights)
    if first.name in traced.divisible and hasattr(op, "groups"):
        sizes = {"groups": count * op.groups}
        if hasattr(op, "filters"):
            sizes["filters"] = count * op.filters
        return _apply(copy_layer(op, name, sizes), x, _beside(weights))
    if operation_key(op) == "ops.GetItem" and _is_channel_slice(calls, len(shape)):
        parts = layers.Reshape((*shape[1:-1], count, shape[-1]))(x)
        chosen = parts[..., first.args[1][-1]]
        return layers.Reshape((*shape[1:-1], count * chosen.shape[-1]))(chosen)
    if type(op) is layers.Flatten and op.data_format == "channels_last":
        parts = layers.Reshape((*shape[1:-1], count, shape[-1]))(x)
        axes = (len(shape) - 1, *range(1, len(shape) - 1), len(shape))
        return layers.Reshape((count * int(np.prod(shape[1:])),))(layers.Permute(axes)(parts))
    raise PlanError(f"Layer '{name}' ({type(op).__name__}) has no fused form; use `fuse=none`.")


def _beside(weights: list[list]) -> list:
    """Weights of all branches, one branch's channels after another's."""
    return [np.concatenate(w, axis=-1) for w in zip(*weights, strict=True)]


def _is_channel_slice(calls: tuple[Call, ...], rank: int) -> bool:
    """True when every branch takes the same run of its channels."""
    keys = [c.args[1] for c in calls]
    whole = isinstance(keys[0], tuple) and keys[0][:-1] == (slice(None),) * (rank - 1)
    return whole and isinstance(keys[0][-1], slice) and all(k == keys[0] for k in keys)


def _batched_dense(call: Call, count: int, shape, x, weights: list):
    op = call.op
    parts = layers.Reshape((count, shape[-1]))(x)
    dense = layers.EinsumDense(
        "bki,kij->bkj",
        (count, op.units),
        activation=call.overrides.get("activation", op.activation),
        bias_axes="kj" if op.use_bias else None,
        dtype=op.dtype_policy,
        name=call.name,
    )
    stacked = [np.stack(w) for w in zip(*weights, strict=True)]
    return layers.Reshape((count * op.units,))(_apply(dense, parts, stacked))


def _apply(layer, x, weights: list):
    y = layer(x)
    layer.set_weights(weights)
    return y
