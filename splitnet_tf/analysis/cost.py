"""Parameters and FLOPs, counted as the paper does, before and after a split.

Convolution and dense kernels and dense biases are parameters, batch norm is not. A multiply-add
is 2 FLOPs; only convolutions and dense layers count, and a dense layer counts its bias.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Sequence

import keras
import numpy as np

from splitnet_tf.errors import PlanError
from splitnet_tf.graph.calls import Call, Graph
from splitnet_tf.graph.copying import plain_layer, rebuild
from splitnet_tf.graph.keras_reader import read_graph
from splitnet_tf.graph.trace import Trace
from splitnet_tf.graph.twins import stock_type
from splitnet_tf.grouping.blocks import channel_labels, check_grouping
from splitnet_tf.grouping.grouping import Grouping
from splitnet_tf.grouping.hierarchy import node_names
from splitnet_tf.grouping.plan import SplitPlan


@dataclasses.dataclass(frozen=True)
class LayerCost:
    """Cost of one layer.

    Attributes:
      name, kind: str, name and class of the layer.
      groups: int, groups of its kernel; 1 where it is not split.
      params: int, kernel and dense bias elements.
      flops: int, FLOPs for one example.
    """

    name: str
    kind: str
    groups: int
    params: int
    flops: int


@dataclasses.dataclass(frozen=True)
class Cost:
    """Cost of a model, or of the tree that a plan makes of it.

    Attributes:
      params, flops: int, totals.
      layers: ``LayerCost`` of each layer, in topological order.
      nodes: (params, flops) of each node of the tree; only the trunk without a split.
    """

    params: int
    flops: int
    layers: tuple[LayerCost, ...]
    nodes: dict[str, tuple[int, int]]


def cost(
    model: keras.Model | Trace,
    plan: SplitPlan | None = None,
    grouping: Grouping | None = None,
    input_size: int | None = None,
) -> Cost:
    """Counts a model as it is, or predicts the tree that a plan makes of it.

    Args:
      model: functional ``keras.Model``, or its ``Trace``; a split model is counted through all its
        nodes.
      plan: ``SplitPlan`` of the split to predict. Defaults to None, no split.
      grouping: ``Grouping`` whose groups to count. Defaults to None, equal groups.
      input_size: int, length of each axis of the inputs that has none of its own, such as height
        and width. Defaults to None: all axes must have one.

    Raises:
      PlanError: the model has no graph or inputs of no fixed shape, or the plan was made for
        another model.
      GroupingError: the grouping is not one of the plan's spaces.

    >>> net = sn.models.mlp((8,), num_classes=4, input_shape=(6,))
    >>> sn.cost(net).params  # kernels 6x8 and 8x4, biases of 8 and 4
    92
    >>> sn.cost(net, sn.SplitPlan.from_sections(net, [("logits", 2)])).params  # two of 4x2
    76
    """
    if input_size is not None:
        model = with_input_size(model.model if isinstance(model, Trace) else model, input_size)
    traced = model if isinstance(model, Trace) else None
    if plan:
        traced = plan.trace_of(traced.model if traced else model)
    graph = traced.graph if traced else read_graph(model)
    names = node_names(plan.groups) if plan else {(0, 0): "trunk"}
    if plan:
        grouping = grouping or Grouping.even(plan)
        check_grouping(plan, grouping)
    layers: dict[int, LayerCost] = {}
    nodes = {name: [0, 0] for name in names.values()}
    for call in graph.calls:
        shapes = _kernels(call.op)
        if not shapes:
            continue
        level, blocks = _blocks(call, traced, plan, grouping) if plan else (0, [None])
        seen = layers.get(id(call.op))
        params = flops = 0
        for g, block in enumerate(blocks):
            n_params, n_flops = _share(call, shapes, graph, block)
            node = nodes.setdefault(names.get((level, g), "head"), [0, 0])
            node[1] += n_flops
            node[0] += 0 if seen else n_params
            params, flops = params + n_params, flops + n_flops
        if seen:
            layers[id(call.op)] = dataclasses.replace(seen, flops=seen.flops + flops)
        else:
            layers[id(call.op)] = LayerCost(
                call.name,
                stock_type(call.op).__name__,
                len(blocks),
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


def _blocks(call: Call, traced: Trace, plan: SplitPlan, grouping: Grouping):
    """Level of a call, and the (input, output) channels of each group of that level."""
    level = plan.call_levels[call.name]
    if not 0 < level < plan.tail:
        return level, [None]
    sides = []
    for t in (call.inputs[0], call.outputs[0]):
        layout = traced.layouts[t]
        names = (traced.spaces[s].name for s in layout.spaces)
        spaces = zip(names, layout.widths, strict=True)
        labels = channel_labels(plan, grouping, spaces, level)
        sides.append(np.bincount(labels, minlength=plan.groups[level]).tolist())
    return level, list(zip(*sides, strict=True))


def _kernels(op) -> list[tuple[int, ...]]:
    """Shapes of the kernels of a convolution or dense layer, (window..., in, out) each.

    A depthwise kernel has 1 for ``in`` or for ``out``: the layer works on each channel alone.
    """
    if isinstance(op, keras.layers.SeparableConv1D | keras.layers.SeparableConv2D):
        return [tuple(op.depthwise_kernel.shape), tuple(op.pointwise_kernel.shape)]
    kernel = getattr(op, "kernel", None)
    return [tuple(kernel.shape)] if kernel is not None else []


def _share(call: Call, shapes, graph: Graph, block: tuple[int, int] | None) -> tuple[int, int]:
    """Costs (params, flops) of one call, or of its block of (input, output) channels."""
    op = call.op
    if block is not None:
        if isinstance(op, keras.layers.SeparableConv1D | keras.layers.SeparableConv2D):
            rows = block[0] * op.depth_multiplier
            shapes = [(*shapes[0][:-2], rows, 1), (*shapes[1][:-2], rows, block[1])]
        elif isinstance(op, keras.layers.DepthwiseConv1D | keras.layers.DepthwiseConv2D):
            shapes = [(*shapes[0][:-2], block[0], op.depth_multiplier)]
        elif getattr(op, "groups", 1) > 1:
            shapes = [(*shapes[0][:-1], block[1])]
        else:
            shapes = [(*shapes[0][:-2], *block)]
    size = sum(math.prod(shape) for shape in shapes)
    if isinstance(op, keras.layers.EinsumDense):
        return size, 2 * _einsum_products(call, graph)
    bias = shapes[-1][-1] if isinstance(op, keras.layers.Dense) and op.use_bias else 0
    return size + bias, (2 * size + bias) * _positions(call, graph)


def _positions(call: Call, graph: Graph) -> int:
    """Number of places at which the kernel is applied."""
    transposed = "Transpose" in type(call.op).__name__
    shape = graph.shapes[call.inputs[0] if transposed else call.outputs[0]][1:]
    first = getattr(call.op, "data_format", None) == "channels_first"
    places = shape[1:] if first else shape[:-1]
    return _product(places, call, graph)


def _einsum_products(call: Call, graph: Graph) -> int:
    """Number of products for one example: a letter of the equation each, those of the input once.

    The shape of the input counts, as a layer's ``output_shape`` may leave lengths open.
    """
    read, kernel = call.op.equation.split("->")[0].split(",")
    own = [n for letter, n in zip(kernel, call.op.kernel.shape, strict=True) if letter not in read]
    return _product(graph.shapes[call.inputs[0]][1:], call, graph) * math.prod(own)


def _product(places: tuple, call: Call, graph: Graph) -> int:
    if None not in places:
        return math.prod(places)
    for other in graph.calls:
        ins, outs = ([graph.shapes[t][1:] for t in side] for side in (other.inputs, other.outputs))
        if not any(None in shape for shape in ins) and any(None in shape for shape in outs):
            raise PlanError(
                f"Layer '{other.name}' ({type(other.op).__name__}) leaves the shape of its output "
                f"open, {outs[0]}; give it an output shape without None to count FLOPs."
            )
    raise PlanError(
        f"Layer '{call.name}' ({type(call.op).__name__}) is applied at a number of places that "
        "depends on the input; give `input_size`, or the model a keras.Input of fixed shape, "
        "to count FLOPs."
    )


def with_input_size(model: keras.Model, size: int) -> keras.Model:
    """Copies a model, with a length for the axes of its inputs that have none.

    Raises:
      PlanError: the model has no graph, or cannot take inputs of that size.
    """
    graph = read_graph(model)
    shapes = [[size] * len(graph.shapes[t][1:]) for t in graph.inputs]
    return _with_lengths(model, graph, shapes, f"`input_size={size}`")


def with_input_shapes(model: keras.Model, shapes: Sequence[tuple[int, ...]]) -> keras.Model:
    """Copies a model, with the lengths of an example for the axes of its inputs that have none.

    Args:
      model: functional ``keras.Model``.
      shapes: shape of an example of each input, in order; a last axis of length 1 may be missing.

    Raises:
      PlanError: the model has no graph, or cannot take inputs of these shapes.
    """
    words = "shape " + ", ".join(map(str, shapes))
    return _with_lengths(model, read_graph(model), shapes, words)


def _with_lengths(model, graph: Graph, lengths: Sequence, words: str) -> keras.Model:
    shapes = list(graph.shapes)
    for t, given in zip(graph.inputs, lengths, strict=True):
        own = itertools.zip_longest(shapes[t][1:], given[: len(shapes[t]) - 1], fillvalue=1)
        shapes[t] = (shapes[t][0], *(n if d is None else d for d, n in own))
    try:
        fixed = dataclasses.replace(graph, shapes=tuple(shapes))
        return rebuild(model.name, fixed, plain_layer)
    except ValueError as error:
        raise PlanError(
            f"Model '{model.name}' cannot take inputs of {words} "
            f"({str(error).strip().splitlines()[0]}); give larger ones."
        ) from error
