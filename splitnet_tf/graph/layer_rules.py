"""Rules of layers that work on each channel alone, and of those that need them all."""

from __future__ import annotations

import numpy as np
from keras import layers

from splitnet_tf.graph.activations import SOFTMAXES, activation_name, mixes_channels
from splitnet_tf.graph.calls import is_keras_operation
from splitnet_tf.graph.rules import LayerRule, TraceContext, register_rule
from splitnet_tf.graph.spaces import Layout


def data_axis(op, rank: int) -> int:
    """Channel axis of a layer with a ``data_format``, counted from 0."""
    return 1 if getattr(op, "data_format", None) == "channels_first" else rank - 1


def same_axis(ctx: TraceContext) -> int:
    """Axis on which the layer expects its channels, which must be that of its input."""
    axis = data_axis(ctx.op, len(ctx.input_shapes[0]))
    if axis != ctx.inputs[0].axis:
        raise ctx.refuse("takes another axis for the channels than the layer before it")
    return axis


# ``keras.ops`` of one tensor that treat every element alone.
ELEMENTWISE = (
    "Abs Absolute Arccos Arccosh Arcsin Arcsinh Arctan Arctanh Cast Cbrt Ceil Celu Clip "
    "Copy Cos Cosh Elu Erf Erfc Exp Exp2 Expm1 Floor Gelu HardShrink HardSigmoid HardSilu "
    "HardTanh LeakyRelu Log Log10 Log1p Log2 LogSigmoid NanToNum Negative OnesLike "
    "Reciprocal Relu Relu6 Round Rsqrt Selu Sigmoid Sign Silu Sin Sinh SoftShrink Softplus "
    "Softsign SparseSigmoid Sqrt Square Squareplus StopGradient Tan Tanh TanhShrink "
    "Threshold Trunc ZerosLike"
).split()


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
    *(f"ops.{name}" for name in ELEMENTWISE),
)
class KeepRule(LayerRule):
    """Element-wise layers: the output has the layout of the input."""

    def is_whole(self, ctx: TraceContext) -> bool:
        return mixes_channels(ctx.op)

    def trace(self, ctx: TraceContext) -> list[Layout]:
        function = getattr(ctx.op, "activation", None)
        if mixes_channels(ctx.op) and activation_name(function).lower() not in SOFTMAXES:
            raise ctx.refuse(
                f"applies '{activation_name(function)}', which may mix channels; if it treats "
                "each element alone, say so with splitnet_tf.register_activation"
            )
        if is_keras_operation(ctx.op):  # ``ops.clip`` may have bounds of each channel's own
            settings = [v for k, v in vars(ctx.op).items() if not k.startswith("_")]
            if any(np.ndim(v) for v in settings):
                raise ctx.refuse("has a constant array for a setting, which is not supported")
        return [ctx.inputs[0] for _ in ctx.output_shapes]


# The newest Keras for Python 3.10 does not have them yet.
ADAPTIVE = [
    getattr(layers, f"Adaptive{kind}Pooling{n}D")
    for kind in ("Average", "Max")
    for n in (1, 2, 3)
    if hasattr(layers, f"Adaptive{kind}Pooling{n}D")
]


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
    layers.CenterCrop,
    *ADAPTIVE,
    "ops.MaxPool",
    "ops.AveragePool",
    "ops.AdaptiveMaxPool",
    "ops.AdaptiveAveragePool",
    "ops.Resize",
)
class SpatialRule(LayerRule):
    """Layers that work on each channel alone: the space of the input is kept."""

    def trace(self, ctx: TraceContext) -> list[Layout]:
        same_axis(ctx)
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
    """Global pooling: removes the positions, keeps the space."""

    def trace(self, ctx: TraceContext) -> list[Layout]:
        axis = same_axis(ctx)
        return [Layout(axis if ctx.op.keepdims else 1, ctx.inputs[0].spaces)]


@register_rule(layers.Rescaling)
class RescalingRule(KeepRule):
    """Element-wise layers with one scale and offset, or one a channel on the last axis."""

    ordered = True

    def is_whole(self, ctx: TraceContext) -> bool:
        ranks = {np.ndim(ctx.op.scale), np.ndim(ctx.op.offset)}
        last = ctx.inputs[0].axis == len(ctx.input_shapes[0]) - 1
        return max(ranks) > (1 if last else 0)

    def slice(self, op, ins, outs):
        settings = {"scale": op.scale, "offset": op.offset}
        return {
            k: np.asarray(v)[outs[0]].tolist() for k, v in settings.items() if np.size(v) > 1
        }, []


class PerChannelRule(KeepRule):
    """Element-wise layers with weights of shape (channels,).

    Attributes:
      gamma_scales: bool, whether nothing of a channel comes through where the layer's ``gamma`` is
        0. Defaults to False, as a layer may use its weights in any way.
    """

    gamma_scales = False

    def slice(self, op, ins, outs):
        return {}, [w[outs[0]] if np.ndim(w) else w for w in op.get_weights()]


@register_rule(layers.BatchNormalization)
class BatchNormalizationRule(PerChannelRule):
    """Batch normalization: one scale, offset, mean and variance a channel."""

    gamma_scales = True

    def trace(self, ctx: TraceContext) -> list[Layout]:
        axis = ctx.op.axis % len(ctx.input_shapes[0])
        if axis != ctx.inputs[0].axis:
            raise ctx.refuse("normalizes another axis than that of the channels")
        return [ctx.inputs[0]]


@register_rule(layers.PReLU)
class PReLURule(KeepRule):
    """Slopes, one a channel, in an array of the input's shape without the batch axis."""

    def trace(self, ctx: TraceContext) -> list[Layout]:
        if ctx.inputs[0].axis != len(ctx.input_shapes[0]) - 1:
            raise ctx.refuse("is supported with channels last only")
        return [ctx.inputs[0]]

    def slice(self, op, ins, outs):
        return {}, [w[..., outs[0]] if w.shape[-1] > 1 else w for w in op.get_weights()]


@register_rule("keras.applications.convnext.LayerScale")
class LayerScaleRule(PerChannelRule):
    """Factors, one a channel, on the last axis; ``projection_dim`` is their number."""

    gamma_scales = True

    def slice(self, op, ins, outs):
        return {"projection_dim": len(outs[0])}, super().slice(op, ins, outs)[1]


@register_rule(layers.LayerNormalization, layers.RMSNormalization)
class LayerNormalizationRule(PerChannelRule):
    """Statistics over the channels: exact in the trunk, impossible in a branch."""

    whole = True
    gamma_scales = True

    def is_whole(self, ctx: TraceContext) -> bool:
        return True

    def trace(self, ctx: TraceContext) -> list[Layout]:
        rank = len(ctx.input_shapes[0])
        axes = ctx.op.axis if isinstance(ctx.op.axis, (list, tuple)) else [ctx.op.axis]
        if [a % rank for a in axes] != [ctx.inputs[0].axis]:
            raise ctx.refuse("normalizes other axes than that of the channels alone")
        return [ctx.inputs[0]]


class MixRule(LayerRule):
    """Layers that need all channels in their order; the output starts a new space, never split."""

    whole = True
    ordered = True

    def trace(self, ctx: TraceContext) -> list[Layout]:
        made = []
        for shape in ctx.output_shapes:
            like_input = ctx.inputs and len(shape) == len(ctx.input_shapes[0])
            axis = ctx.inputs[0].axis if like_input else max(len(shape) - 1, 0)
            if getattr(ctx.op, "data_format", None) and len(shape) > 2:  # it says so itself
                axis = data_axis(ctx.op, len(shape))
            made.append(ctx.new(shape[axis] or 0 if shape else 0, axis))
        return made


@register_rule(
    layers.Softmax,
    layers.Normalization,
    layers.UnitNormalization,
    "ops.Softmax",
    "ops.LogSoftmax",
    "ops.Sparsemax",
)
class WholeRule(MixRule):
    """Layers that need all channels in their order, and keep their space."""

    def trace(self, ctx: TraceContext) -> list[Layout]:
        return [ctx.inputs[0]]


@register_rule(layers.GroupNormalization)
class GroupNormalizationRule(PerChannelRule):
    """Statistics of each run of channels: whole, or with each run as a unit.

    With one channel a run it works on each channel alone.
    """

    ordered = True
    gamma_scales = True

    def units(self, ctx: TraceContext) -> int | None:
        channels = ctx.input_shapes[0][ctx.inputs[0].axis]
        return None if ctx.op.groups in (-1, channels) else channels // ctx.op.groups

    def is_whole(self, ctx: TraceContext) -> bool:
        return self.units(ctx) is not None and not ctx.tied

    def trace(self, ctx: TraceContext) -> list[Layout]:
        if ctx.op.axis % len(ctx.input_shapes[0]) != ctx.inputs[0].axis:
            raise ctx.refuse("normalizes another axis than that of the channels")
        return [ctx.inputs[0]]

    def slice(self, op, ins, outs):
        settings, weights = super().slice(op, ins, outs)
        channels = op.input_spec.axes[op.axis]
        return {**settings, "groups": len(outs[0]) * op.groups // channels}, weights
