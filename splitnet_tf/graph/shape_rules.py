"""Rules of layers that join tensors or move their axes."""

from __future__ import annotations

import keras
import numpy as np
from keras import layers

from splitnet_tf.graph.calls import TensorRef
from splitnet_tf.graph.rules import LayerRule, TraceContext, register_rule
from splitnet_tf.graph.spaces import Layout

# ``keras.ops`` of several tensors that treat every element alone.
PAIRWISE = (
    "Add Arctan2 Divide DivideNoNan Equal FloorDivide Fmax Fmin Fmod Greater GreaterEqual "
    "Heaviside Hypot Less LessEqual Logaddexp Logaddexp2 LogicalAnd LogicalOr LogicalXor "
    "Maximum Minimum Mod Multiply NotEqual Power Subtract TrueDivide Where"
).split()


@register_rule(
    layers.Add,
    layers.Subtract,
    layers.Multiply,
    layers.Average,
    layers.Maximum,
    layers.Minimum,
    "keras.applications.inception_resnet_v2.CustomScaleLayer",
    *(f"ops.{name}" for name in PAIRWISE),
)
class JoinRule(LayerRule):
    """Element-wise layers of several tensors: their spaces become one; one channel broadcasts.

    A tensor with a single channel beside wider ones keeps a space of its own, which every
    branch reads whole (``Trace.broadcast``). With a constant array, such as an adjustment of each
    class's logit, the call is whole.
    """

    ordered = True

    def is_whole(self, ctx: TraceContext) -> bool:
        return any(
            not isinstance(value, (TensorRef, str)) and np.ndim(value)
            for value in keras.tree.flatten((ctx.args, ctx.kwargs))
        )

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
            raise ctx.refuse("joins tensors none of which has the channels of the result")
        first, first_shape = wide[0]
        axis = first.axis + rank - len(first_shape)
        for layout, shape in zip(ctx.inputs, ctx.input_shapes, strict=True):
            if layout.axis + rank - len(shape) != axis:
                raise ctx.refuse("joins tensors whose channels lie on different axes")
        for layout, shape in zip(ctx.inputs, ctx.input_shapes, strict=True):
            if shape[layout.axis] == out_shape[axis]:
                ctx.unify(first, layout)
        return [Layout(axis, first.spaces)]


@register_rule(layers.Concatenate, "ops.Concatenate")
class ConcatenateRule(LayerRule):
    """Concatenation: spaces end to end along the channels, made one along another axis."""

    def trace(self, ctx: TraceContext) -> list[Layout]:
        first = ctx.inputs[0]
        rank = len(ctx.input_shapes[0])
        if any(layout.axis != first.axis for layout in ctx.inputs):
            raise ctx.refuse("joins tensors whose channels lie on different axes")
        if any(len(shape) != rank for shape in ctx.input_shapes):
            raise ctx.refuse("joins tensors of different ranks")
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
        """Repeats of the channels along the new last axis; None: not traceable."""
        shape, out = ctx.input_shapes[0], ctx.output_shapes[0]
        axis = ctx.inputs[0].axis
        # Keras' Flatten moves a first axis, of channels as it thinks, to the end beforehand.
        moved = isinstance(ctx.op, layers.Flatten) and ctx.op.data_format == "channels_first"
        if moved and axis != 1:
            return None
        if any(d != 1 for d in shape[axis + 1 :]):
            if not moved:
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
        if isinstance(op, layers.Flatten):
            return {}, []
        key = "target_shape" if isinstance(op, layers.Reshape) else "newshape"
        target = getattr(op, key)
        target = (target,) if isinstance(target, int) else tuple(target)
        if target[-1] in (-1, len(outs[0])):
            return {}, []
        return {key: (*target[:-1], len(outs[0]))}, []


# ``keras.ops`` that reduce the axes in ``axis``.
REDUCTIONS = ("All Amax Amin Any CountNonzero Logsumexp Max Mean Min Prod Std Sum Var").split()


@register_rule(*(f"ops.{name}" for name in REDUCTIONS))
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
        keepdims = getattr(ctx.op, "keepdims", False)
        gone = 0 if keepdims else sum(a < layout.axis for a in axes)
        return [Layout(layout.axis - gone, layout.spaces)]


@register_rule(layers.Permute, "ops.Transpose")
class PermuteRule(LayerRule):
    """Moves the axis of the channels, not the channels."""

    def trace(self, ctx: TraceContext) -> list[Layout]:
        rank = len(ctx.input_shapes[0])
        axes = (0, *ctx.op.dims) if isinstance(ctx.op, layers.Permute) else ctx.op.axes
        axes = [a % rank for a in (range(rank - 1, -1, -1) if axes is None else axes)]
        if axes[0] != 0:
            raise ctx.refuse("moves the batch axis")
        return [Layout(axes.index(ctx.inputs[0].axis), ctx.inputs[0].spaces)]


@register_rule("ops.ExpandDims", "ops.Squeeze")
class InsertRule(LayerRule):
    """Inserts axes of length 1, or removes them."""

    def trace(self, ctx: TraceContext) -> list[Layout]:
        layout, rank = ctx.inputs[0], len(ctx.input_shapes[0])
        inserts = len(ctx.output_shapes[0]) > rank
        if ctx.op.axis is None:
            raise ctx.refuse("takes out every axis of length 1; name the axes")
        axes = [ctx.op.axis] if isinstance(ctx.op.axis, int) else list(ctx.op.axis)
        if inserts:
            total = len(ctx.output_shapes[0])
            added = {a % total for a in axes}
            left = [a for a in range(total) if a not in added]
            return [Layout(left[layout.axis], layout.spaces)]
        gone = {a % rank for a in axes}
        if layout.axis in gone:
            raise ctx.refuse("takes out the axis of the channels")
        return [Layout(layout.axis - sum(a < layout.axis for a in gone), layout.spaces)]


@register_rule("ops.Pad")
class PadRule(LayerRule):
    """Pads positions, or adds channels at the ends, which are spaces of their own."""

    ordered = True

    def trace(self, ctx: TraceContext) -> list[Layout]:
        layout, rank = ctx.inputs[0], len(ctx.input_shapes[0])
        widths = [tuple(w) for w in ctx.op.pad_width]
        if len(widths) != rank or sum(widths[0]):
            raise ctx.refuse("pads the batch axis")
        if layout.axis != rank - 1:
            raise ctx.refuse("is supported with channels last only")
        before, after = widths[-1]
        if len(ctx.inputs) > 1 or (before + after and ctx.op.mode != "constant"):
            raise ctx.refuse("adds channels that are no constant")
        first, last = (ctx.new(n, layout.axis).spaces if n else () for n in (before, after))
        return [Layout(layout.axis, (*first, *layout.spaces, *last))]

    def slice(self, op, ins, outs):
        *others, (before, _) = [tuple(w) for w in op.pad_width]
        first = int((outs[0] < before).sum())
        widths = (*others, (first, len(outs[0]) - len(ins[0]) - first))
        return {"pad_width": widths, "mode": op.mode}, []
