"""The rules of stock Keras layers."""

from __future__ import annotations

import math

import numpy as np
from keras import layers

from splitnet_tf.graph.keras_graph import mixes_channels
from splitnet_tf.graph.rules import LayerRule, TraceContext, register_rule
from splitnet_tf.graph.spaces import Layout


def data_axis(op, rank: int) -> int:
    """The channel axis of a layer with a ``data_format``."""
    return 1 if getattr(op, "data_format", None) == "channels_first" else rank - 1


@register_rule(
    layers.Activation,
    layers.ELU,
    layers.LeakyReLU,
    layers.ReLU,
    layers.Identity,
    layers.Dropout,
    layers.AlphaDropout,
    layers.GaussianDropout,
    layers.GaussianNoise,
    layers.SpatialDropout1D,
    layers.SpatialDropout2D,
    layers.SpatialDropout3D,
    layers.ActivityRegularization,
    "ops.Relu",
    "ops.Relu6",
    "ops.Sigmoid",
    "ops.Silu",
    "ops.Gelu",
    "ops.Tanh",
    "ops.Elu",
    "ops.LeakyRelu",
    "ops.HardSigmoid",
    "ops.HardSilu",
    "ops.Softplus",
    "ops.Exp",
    "ops.Sqrt",
    "ops.Square",
    "ops.Abs",
    "ops.Absolute",
    "ops.Negative",
    "ops.Clip",
    "ops.Cast",
    "ops.StopGradient",
)
class KeepRule(LayerRule):
    """Element-wise: the output has the layout of the input."""

    def is_whole(self, ctx: TraceContext) -> bool:
        return mixes_channels(ctx.op)

    def trace(self, ctx: TraceContext) -> list[Layout]:
        return [ctx.inputs[0] for _ in ctx.output_shapes]


@register_rule(
    layers.MaxPooling1D,
    layers.MaxPooling2D,
    layers.MaxPooling3D,
    layers.AveragePooling1D,
    layers.AveragePooling2D,
    layers.AveragePooling3D,
    layers.ZeroPadding1D,
    layers.ZeroPadding2D,
    layers.ZeroPadding3D,
    layers.Cropping1D,
    layers.Cropping2D,
    layers.Cropping3D,
    layers.UpSampling1D,
    layers.UpSampling2D,
    layers.UpSampling3D,
    layers.Resizing,
)
class SpatialRule(LayerRule):
    """Works on each channel alone: the space of the input is kept."""

    def trace(self, ctx: TraceContext) -> list[Layout]:
        axis = data_axis(ctx.op, len(ctx.input_shapes[0]))
        if axis != ctx.inputs[0].axis:
            raise ctx.refuse("takes another axis for the channels than the layer before it.")
        return [ctx.inputs[0]]


@register_rule(
    layers.GlobalAveragePooling1D,
    layers.GlobalAveragePooling2D,
    layers.GlobalAveragePooling3D,
    layers.GlobalMaxPooling1D,
    layers.GlobalMaxPooling2D,
    layers.GlobalMaxPooling3D,
)
class GlobalPoolRule(LayerRule):
    """Removes the positions, keeps the space."""

    def trace(self, ctx: TraceContext) -> list[Layout]:
        if data_axis(ctx.op, len(ctx.input_shapes[0])) != ctx.inputs[0].axis:
            raise ctx.refuse("takes another axis for the channels than the layer before it.")
        axis = ctx.inputs[0].axis if ctx.op.keepdims else 1
        return [Layout(axis, ctx.inputs[0].spaces)]


@register_rule(layers.Rescaling)
class RescalingRule(KeepRule):
    """Element-wise with one scale, or one scale a channel (then only in the trunk)."""

    ordered = True

    def is_whole(self, ctx: TraceContext) -> bool:
        return np.ndim(ctx.op.scale) > 0 or np.ndim(ctx.op.offset) > 0


class PerChannelRule(KeepRule):
    """Element-wise with weights of shape (channels,)."""

    def slice(self, op, ins, outs):
        return {}, [w[outs[0]] if np.ndim(w) else w for w in op.get_weights()]


@register_rule(layers.BatchNormalization)
class BatchNormalizationRule(PerChannelRule):
    """One scale, offset, mean and variance a channel."""

    def trace(self, ctx: TraceContext) -> list[Layout]:
        axis = ctx.op.axis % len(ctx.input_shapes[0])
        if axis != ctx.inputs[0].axis:
            raise ctx.refuse("normalizes another axis than that of the channels.")
        return [ctx.inputs[0]]


@register_rule(layers.PReLU)
class PReLURule(KeepRule):
    """One slope a channel, in an array of the input's shape without the batch axis."""

    def trace(self, ctx: TraceContext) -> list[Layout]:
        if ctx.inputs[0].axis != len(ctx.input_shapes[0]) - 1:
            raise ctx.refuse("is supported with channels last only.")
        return [ctx.inputs[0]]

    def slice(self, op, ins, outs):
        return {}, [w[..., outs[0]] if w.shape[-1] > 1 else w for w in op.get_weights()]


@register_rule(layers.LayerNormalization)
class LayerNormalizationRule(PerChannelRule):
    """Its statistics run over the channels: exact in the trunk, impossible in a branch."""

    whole = True

    def is_whole(self, ctx: TraceContext) -> bool:
        return True

    def trace(self, ctx: TraceContext) -> list[Layout]:
        rank = len(ctx.input_shapes[0])
        axes = ctx.op.axis if isinstance(ctx.op.axis, (list, tuple)) else [ctx.op.axis]
        if [a % rank for a in axes] != [ctx.inputs[0].axis]:
            raise ctx.refuse("normalizes other axes than that of the channels alone.")
        return [ctx.inputs[0]]


class MixRule(LayerRule):
    """Needs all channels in their order; its output starts a new space, never split."""

    whole = True
    ordered = True

    def trace(self, ctx: TraceContext) -> list[Layout]:
        return [ctx.new(shape[-1] or 0, len(shape) - 1) for shape in ctx.output_shapes]


@register_rule(
    layers.Softmax,
    layers.GroupNormalization,
    layers.Normalization,
    layers.UnitNormalization,
    layers.SpectralNormalization,
    "ops.Softmax",
    "ops.LogSoftmax",
)
class WholeRule(MixRule):
    """Needs all channels in their order, and keeps their space."""

    def trace(self, ctx: TraceContext) -> list[Layout]:
        return [ctx.inputs[0]]


@register_rule(layers.Dense)
class DenseRule(LayerRule):
    """``kernel`` (in, out) on the last axis."""

    kernel = True

    def trace(self, ctx: TraceContext) -> list[Layout]:
        rank = len(ctx.input_shapes[0])
        if ctx.inputs[0].axis != rank - 1:
            raise ctx.refuse("reads another axis than that of the channels.")
        return [ctx.new(ctx.op.units, rank - 1)]

    def slice(self, op, ins, outs):
        weights = [np.asarray(op.kernel)[ins[0]][:, outs[0]]]
        if op.use_bias:
            weights.append(np.asarray(op.bias)[outs[0]])
        return {"units": len(outs[0])}, weights


@register_rule(layers.Conv1D, layers.Conv2D, layers.Conv3D)
class ConvRule(LayerRule):
    """``kernel`` (window..., in, out); ``groups`` above 1 is left whole."""

    kernel = True

    def is_whole(self, ctx: TraceContext) -> bool:
        return ctx.op.groups > 1

    def trace(self, ctx: TraceContext) -> list[Layout]:
        axis = data_axis(ctx.op, len(ctx.input_shapes[0]))
        if axis != ctx.inputs[0].axis:
            raise ctx.refuse("takes another axis for the channels than the layer before it.")
        return [ctx.new(ctx.op.filters, axis)]

    def slice(self, op, ins, outs):
        kernel = np.asarray(op.kernel)
        if op.groups > 1:  # whole: both are the identity
            return {}, op.get_weights()
        weights = [kernel[..., ins[0], :][..., outs[0]]]
        if op.use_bias:
            weights.append(np.asarray(op.bias)[outs[0]])
        return {"filters": len(outs[0])}, weights


@register_rule(layers.DepthwiseConv1D, layers.DepthwiseConv2D)
class DepthwiseConvRule(LayerRule):
    """``kernel`` (window..., channels, multiplier): each channel alone.

    A multiplier above 1 makes output channel ``c * multiplier + j``; such a layer is whole.
    """

    ordered = True

    def is_whole(self, ctx: TraceContext) -> bool:
        return ctx.op.depth_multiplier > 1

    def trace(self, ctx: TraceContext) -> list[Layout]:
        axis = data_axis(ctx.op, len(ctx.input_shapes[0]))
        if axis != ctx.inputs[0].axis:
            raise ctx.refuse("takes another axis for the channels than the layer before it.")
        if ctx.op.depth_multiplier > 1:
            return [ctx.new(ctx.output_shapes[0][axis], axis)]
        return [ctx.inputs[0]]

    def slice(self, op, ins, outs):
        weights = op.get_weights()
        if op.depth_multiplier == 1:
            weights[0] = weights[0][..., ins[0], :]
            weights[1:] = [w[outs[0]] for w in weights[1:]]
        return {}, weights


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
