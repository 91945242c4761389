"""Rules of layers with a kernel: dense layers and convolutions."""

from __future__ import annotations

import numpy as np
from keras import layers
from keras.ops import convert_to_numpy

from splitnet_tf.graph.layer_rules import same_axis
from splitnet_tf.graph.rules import LayerRule, TraceContext, register_rule
from splitnet_tf.graph.spaces import Layout


@register_rule(layers.Dense)
class DenseRule(LayerRule):
    """Dense layers: ``kernel`` (in, out) on the last axis."""

    kernel = True

    def trace(self, ctx: TraceContext) -> list[Layout]:
        rank = len(ctx.input_shapes[0])
        if ctx.inputs[0].axis != rank - 1:
            raise ctx.refuse("reads another axis than that of the channels")
        return [ctx.new(ctx.op.units, rank - 1)]

    def slice(self, op, ins, outs):
        kernel = convert_to_numpy(op.kernel)[ins[0]][:, outs[0]]
        return {"units": len(outs[0])}, [kernel, *_bias(op, outs[0])]


@register_rule(layers.Conv1D, layers.Conv2D, layers.Conv3D)
class ConvRule(LayerRule):
    """Convolutions: ``kernel`` (window..., in of a group, out).

    With one group a channel (``groups == in == out``) it is a depthwise convolution and works on
    each channel alone. With any other number above 1 it is whole, or works on each group's
    channels as a unit.
    """

    kernel = True
    ordered = True

    @staticmethod
    def _depthwise(op) -> bool:
        return op.groups > 1 and op.kernel.shape[-2] == 1 and op.groups == op.filters

    def has_kernel(self, op) -> bool:
        return op.groups == 1

    def units(self, ctx: TraceContext) -> int | None:
        alone = ctx.op.groups == 1 or self._depthwise(ctx.op)
        return None if alone else int(ctx.op.kernel.shape[-2])

    def is_whole(self, ctx: TraceContext) -> bool:
        return self.units(ctx) is not None and not ctx.tied

    def trace(self, ctx: TraceContext) -> list[Layout]:
        axis, op = same_axis(ctx), ctx.op
        if self._depthwise(op):
            return [ctx.inputs[0]]
        if ctx.tied:
            return [ctx.widened(ctx.inputs[0], self.units(ctx), op.filters // op.groups)]
        return [ctx.new(op.filters, axis)]

    def slice(self, op, ins, outs):
        kernel = convert_to_numpy(op.kernel)
        settings = {"filters": len(outs[0])}
        if op.groups == 1:
            kernel = kernel[..., ins[0], :]
        else:  # every filter reads the channels of its own group, which stay together
            settings["groups"] = len(ins[0]) // kernel.shape[-2]
        return settings, [kernel[..., outs[0]], *_bias(op, outs[0])]


@register_rule(layers.Conv1DTranspose, layers.Conv2DTranspose, layers.Conv3DTranspose)
class ConvTransposeRule(LayerRule):
    """Transposed convolutions: ``kernel`` (window..., out, in)."""

    kernel = True
    kernel_axes = (-1, -2)

    def trace(self, ctx: TraceContext) -> list[Layout]:
        return [ctx.new(ctx.op.filters, same_axis(ctx))]

    def slice(self, op, ins, outs):
        kernel = convert_to_numpy(op.kernel)[..., ins[0]][..., outs[0], :]
        return {"filters": len(outs[0])}, [kernel, *_bias(op, outs[0])]


@register_rule(layers.DepthwiseConv1D, layers.DepthwiseConv2D)
class DepthwiseConvRule(LayerRule):
    """Depthwise convolutions: ``kernel`` (window..., channels, multiplier), each channel alone.

    A multiplier above 1 makes output channel ``c * multiplier + j``; such a layer is whole, or
    makes units.
    """

    ordered = True

    def units(self, ctx: TraceContext) -> int | None:
        return 1 if ctx.op.depth_multiplier > 1 else None

    def is_whole(self, ctx: TraceContext) -> bool:
        return ctx.op.depth_multiplier > 1 and not ctx.tied

    def trace(self, ctx: TraceContext) -> list[Layout]:
        axis = same_axis(ctx)
        if ctx.tied:
            return [ctx.widened(ctx.inputs[0], 1, ctx.op.depth_multiplier)]
        if ctx.op.depth_multiplier > 1:
            return [ctx.new(ctx.output_shapes[0][axis], axis)]
        return [ctx.inputs[0]]

    def slice(self, op, ins, outs):
        return {}, [convert_to_numpy(op.kernel)[..., ins[0], :], *_bias(op, outs[0])]


@register_rule(layers.SeparableConv1D, layers.SeparableConv2D)
class SeparableConvRule(LayerRule):
    """Separable convolutions: depthwise, then the ``pointwise_kernel`` (1..., in, out) to split.

    A depth multiplier makes that many rows of the pointwise kernel for each channel. Above 1 the
    layer is whole, or the rows are units.
    """

    kernel = True
    ordered = True

    def kernel_of(self, layer):
        return layer.pointwise_kernel

    def rows_of_channel(self, layer) -> int:
        return layer.depth_multiplier

    def units(self, ctx: TraceContext) -> int | None:
        return 1 if ctx.op.depth_multiplier > 1 else None

    def is_whole(self, ctx: TraceContext) -> bool:
        return ctx.op.depth_multiplier > 1 and not ctx.tied

    def trace(self, ctx: TraceContext) -> list[Layout]:
        return [ctx.new(ctx.op.filters, same_axis(ctx))]

    def slice(self, op, ins, outs):
        rows = (ins[0][:, None] * op.depth_multiplier + np.arange(op.depth_multiplier)).ravel()
        depthwise = convert_to_numpy(op.depthwise_kernel)[..., ins[0], :]
        pointwise = convert_to_numpy(op.pointwise_kernel)[..., rows, :][..., outs[0]]
        return {"filters": len(outs[0])}, [depthwise, pointwise, *_bias(op, outs[0])]


def _bias(op, kept: np.ndarray) -> list[np.ndarray]:
    return [convert_to_numpy(op.bias)[kept]] if op.use_bias else []
