"""Rules of layers that join tensors or move their axes."""

from __future__ import annotations

import math

import numpy as np
from keras import layers

from splitnet_tf.graph.layer_rules import MixRule
from splitnet_tf.graph.rules import LayerRule, TraceContext, register_rule
from splitnet_tf.graph.spaces import Layout


@register_rule(
    layers.Add,
    layers.Subtract,
    layers.Multiply,
    layers.Average,
    layers.Maximum,
    layers.Minimum,
    "ops.Add",
    "ops.Subtract",
    "ops.Multiply",
    "ops.Divide",
    "ops.TrueDivide",
    "ops.Maximum",
    "ops.Minimum",
)
class JoinRule(LayerRule):
    """Element-wise on several tensors: their spaces become one; one channel broadcasts.

    A tensor with a single channel beside wider ones keeps a space of its own, which every
    branch reads whole (``Trace.broadcast``).
    """

    def trace(self, ctx: TraceContext) -> list[Layout]:
        out_shape = ctx.output_shapes[0]
        rank = len(out_shape)
        wide = [
            (layout, shape)
            for layout, shape in zip(ctx.inputs, ctx.input_shapes, strict=True)
            if layout.axis + rank - len(shape) >= 0
            and shape[layout.axis] == out_shape[layout.axis + rank - len(shape)]
        ]
        if not wide:
            raise ctx.refuse("joins tensors none of which has the channels of the result.")
        first, first_shape = wide[0]
        axis = first.axis + rank - len(first_shape)
        for layout, shape in zip(ctx.inputs, ctx.input_shapes, strict=True):
            if layout.axis + rank - len(shape) != axis:
                raise ctx.refuse("joins tensors whose channels lie on different axes.")
            if shape[layout.axis] == out_shape[axis]:
                ctx.unify(first, layout)
        for value in (*ctx.args, *ctx.kwargs.values()):
            if np.ndim(value) and not isinstance(value, (list, tuple)):
                raise ctx.refuse("joins a tensor with a constant array, which is not supported.")
        return [Layout(axis, first.spaces)]


@register_rule(layers.Concatenate, "ops.Concatenate")
class ConcatenateRule(LayerRule):
    """Along the channels: the spaces end to end. Along another axis: they become one."""

    def trace(self, ctx: TraceContext) -> list[Layout]:
        first = ctx.inputs[0]
        rank = len(ctx.input_shapes[0])
        if any(layout.axis != first.axis for layout in ctx.inputs):
            raise ctx.refuse("joins tensors whose channels lie on different axes.")
        if ctx.op.axis % rank == first.axis:
            return [Layout(first.axis, sum((layout.spaces for layout in ctx.inputs), ()))]
        for layout in ctx.inputs[1:]:
            ctx.unify(first, layout)
        return [first]


@register_rule(layers.Flatten, layers.Reshape, "ops.Reshape")
class ReshapeRule(LayerRule):
    """Keeps the last axis, or merges positions into it: index = position * channels + channel."""

    ordered = True

    def is_whole(self, ctx: TraceContext) -> bool:
        return self._repeats(ctx) is None

    @staticmethod
    def _repeats(ctx: TraceContext) -> int | None:
        """How often the channels are repeated along the new last axis; None: not traceable."""
        shape, out = ctx.input_shapes[0], ctx.output_shapes[0]
        axis = ctx.inputs[0].axis
        positions_after = [d for d in shape[axis + 1 :]]
        if any(d != 1 for d in positions_after):
            # Keras' Flatten moves a first channel axis to the end before it flattens.
            moved = getattr(ctx.op, "data_format", None) == "channels_first"
            if not (isinstance(ctx.op, layers.Flatten) and moved):
                return None
            shape = (shape[0], *shape[2:], shape[1])
        else:
            shape = shape[: axis + 1]
        if None in shape[1:] or out[-1] is None:
            return 1 if out[-1] == shape[-1] else None
        trailing = 1
        for d in reversed(shape[1:]):
            trailing *= d
            if trailing == out[-1]:
                return trailing // shape[-1]
        return None

    def trace(self, ctx: TraceContext) -> list[Layout]:
        out = ctx.output_shapes[0]
        repeats = self._repeats(ctx)
        if repeats is None:
            return [ctx.new(out[-1] or 0, len(out) - 1)]
        return [Layout(len(out) - 1, ctx.inputs[0].spaces * repeats)]

    def slice(self, op, ins, outs):
        if isinstance(op, layers.Reshape):
            target = tuple(op.target_shape)
            positions = math.prod(d for d in target[:-1])
            if positions > 0 and target[-1] not in (-1, len(outs[0])):
                return {"target_shape": (*target[:-1], len(outs[0]))}, []
        return {}, []


@register_rule("ops.Mean", "ops.Max", "ops.Sum")
class ReduceRule(LayerRule):
    """A reduction over positions keeps the channels; one over the channels is whole."""

    ordered = True

    @staticmethod
    def _axes(ctx: TraceContext) -> list[int]:
        rank = len(ctx.input_shapes[0])
        axis = ctx.op.axis
        axes = range(rank) if axis is None else [axis] if isinstance(axis, int) else axis
        return [a % rank for a in axes]

    def is_whole(self, ctx: TraceContext) -> bool:
        return ctx.inputs[0].axis in self._axes(ctx)

    def trace(self, ctx: TraceContext) -> list[Layout]:
        axes, layout, out = self._axes(ctx), ctx.inputs[0], ctx.output_shapes[0]
        if layout.axis in axes:
            return [ctx.new(out[-1] if len(out) > 1 and out[-1] else 1, len(out) - 1)]
        gone = 0 if ctx.op.keepdims else sum(a < layout.axis for a in axes)
        return [Layout(layout.axis - gone, layout.spaces)]


@register_rule(layers.MultiHeadAttention, layers.Permute, layers.RepeatVector, layers.Lambda)
@register_rule(layers.Conv1DTranspose, layers.Conv2DTranspose, layers.Conv3DTranspose)
@register_rule("ops.Transpose", "ops.Matmul", "ops.GetItem", "ops.Split", "ops.Einsum")
class OpaqueRule(MixRule):
    """May stand in the trunk where nothing is permuted; refused anywhere else."""

    def slice(self, op, ins, outs):
        return {}, op.get_weights() if hasattr(op, "get_weights") else []
