"""Parameters and FLOPs, counted as the paper does, before and after a split.

Convolution and dense kernels and dense biases are parameters, batch norm is not. A multiply-add
is 2 FLOPs; only convolutions and dense layers count, and a dense layer counts its bias.
"""

from __future__ import annotations

import dataclasses
import math

import keras
import numpy as np

from splitnet_tf.graph.hierarchy import even_sizes, node_names
from splitnet_tf.graph.keras_graph import Call, Graph, read_graph
from splitnet_tf.graph.plan import SplitPlan
from splitnet_tf.grouping.grouping import Grouping, SpaceGroups
from splitnet_tf.splitting.blocks import check_grouping, kernel_labels


@dataclasses.dataclass(frozen=True)
class LayerCost:
    """One layer's share.

    Attributes:
      name, kind: of the layer.
      groups: into how many its kernel is split (1: not).
      params: kernel and dense bias elements.
      flops: for one example.
    """

    name: str
    kind: str
    groups: int
    params: int
    flops: int


@dataclasses.dataclass(frozen=True)
class Cost:
    """The cost of a model, or of the tree that a plan makes of it.

    Attributes:
      params, flops: totals.
      layers: each layer's share, in topological order.
      nodes: (params, flops) of each node of the tree; only the trunk without a split.
    """

    params: int
    flops: int
    layers: tuple[LayerCost, ...]
    nodes: dict[str, tuple[int, int]]


def even_grouping(plan: SplitPlan, model_name: str = "model") -> Grouping:
    """The grouping in which every space is cut into equal runs of its channels."""
    spaces = tuple(
        SpaceGroups.from_labels(
            s.name,
            np.repeat(np.arange(s.num_groups), even_sizes(s.size, s.num_groups)),
            s.num_groups,
        )
        for s in plan.spaces
    )
    return Grouping(model_name, plan.sections, "even", spaces, plan.class_spaces[0])


def cost(
    model: keras.Model, plan: SplitPlan | None = None, grouping: Grouping | None = None
) -> Cost:
    """Counts a model as it is, or predicts the tree that a plan makes of it.

    Args:
      model: functional; a split model is counted through all its nodes.
      plan: predicts the cost after this split.
      grouping: with the groups as they are; equal groups without it.

    Raises:
      PlanError: the model has no graph.
      GroupingError: the grouping is not one of the plan's spaces.
    """
    graph = read_graph(model)
    blocks: dict[str, list[tuple[int, int]]] = {}
    names = node_names(plan.groups) if plan else {(0, 0): "trunk"}
    levels = {}
    if plan:
        grouping = grouping or even_grouping(plan, model.name)
        check_grouping(plan, grouping)
        for kernel in plan.kernels:
            rows, columns = kernel_labels(plan, grouping, kernel)
            groups = range(kernel.num_groups)
            blocks[kernel.name] = [
                (int(np.sum(rows == g)), int(np.sum(columns == g))) for g in groups
            ]
            levels[kernel.name] = kernel.level
    layers: dict[int, LayerCost] = {}
    nodes = {name: [0, 0] for name in names.values()}
    for call in graph.calls:
        kernels = _kernels(call.op)
        if not kernels:
            continue
        first = next(c for c in graph.calls if c.op is call.op)
        seen = layers.get(id(call.op))
        params = flops = 0
        for g, (n_params, n_flops) in enumerate(
            _shares(call, kernels, graph, blocks.get(first.name))
        ):
            node = nodes[names[levels.get(first.name, 0), g]]
            node[1] += n_flops
            node[0] += 0 if seen else n_params
            params, flops = params + n_params, flops + n_flops
        if seen:
            layers[id(call.op)] = dataclasses.replace(seen, flops=seen.flops + flops)
        else:
            layers[id(call.op)] = LayerCost(
                call.name,
                type(call.op).__name__.removeprefix("Grouped"),
                len(blocks.get(first.name, (1,))),
                params,
                flops,
            )
    rows = tuple(layers.values())
    return Cost(
        sum(r.params for r in rows),
        sum(r.flops for r in rows),
        rows,
        {name: (p, f) for name, (p, f) in nodes.items()},
    )


def _kernels(op) -> list[tuple[int, ...]]:
    """Shapes of the kernels of a convolution or dense layer."""
    if isinstance(op, keras.layers.SeparableConv1D | keras.layers.SeparableConv2D):
        return [tuple(op.depthwise_kernel.shape), tuple(op.pointwise_kernel.shape)]
    kernel = getattr(op, "kernel", None)
    return [tuple(kernel.shape)] if kernel is not None else []


def _shares(
    call: Call, kernels: list[tuple[int, ...]], graph: Graph, blocks
) -> list[tuple[int, int]]:
    """(params, flops) of each block of one call."""
    dense = isinstance(call.op, keras.layers.Dense)
    positions = _positions(call, graph)
    shares = []
    for block in blocks or [None]:
        sizes = [math.prod(shape) for shape in kernels]
        out = kernels[-1][-1]
        if block is not None:
            sizes = [math.prod(kernels[0][:-2]) * block[0] * block[1]]
            out = block[1]
        bias = out if dense and call.op.use_bias else 0
        shares.append((sum(sizes) + bias, (2 * sum(sizes) + bias) * positions))
    return shares


def _positions(call: Call, graph: Graph) -> int:
    """At how many places the kernel is applied."""
    transposed = "Transpose" in type(call.op).__name__
    shape = graph.shapes[call.inputs[0] if transposed else call.outputs[0]][1:]
    if getattr(call.op, "data_format", None) == "channels_first":
        return math.prod(shape[1:])
    return math.prod(shape[:-1])
