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
            raise ctx.refuse("reads another axis than that of the channels.")
        return [ctx.new(ctx.op.units, rank - 1)]

    def slice(self, op, ins, outs):
        kernel = convert_to_numpy(op.kernel)[ins[0]][:, outs[0]]
        return {"units": len(outs[0])}, [kernel, *_bias(op, outs[0])]


@register_rule(layers.Conv1D, layers.Conv2D, layers.Conv3D)
class ConvRule(LayerRule):
    """Convolutions: ``kernel`` (window..., in, out).

    With one group a channel (``groups == in == out``) it is a depthwise convolution and works on
    each channel alone; with any other number above 1 it is whole.
    """

    kernel = True
    ordered = True

    @staticmethod
    def _depthwise(op) -> bool:
        return op.groups > 1 and op.kernel.shape[-2] == 1 and op.groups == op.filters

    def has_kernel(self, op) -> bool:
        return op.groups == 1

    def is_whole(self, ctx: TraceContext) -> bool:
        return ctx.op.groups > 1 and not self._depthwise(ctx.op)

    def trace(self, ctx: TraceContext) -> list[Layout]:
        axis = same_axis(ctx)
        return [ctx.inputs[0] if self._depthwise(ctx.op) else ctx.new(ctx.op.filters, axis)]

    def slice(self, op, ins, outs):
        kernel = convert_to_numpy(op.kernel)
        if self._depthwise(op):
            settings = {"filters": len(outs[0]), "groups": len(outs[0])}
            return settings, [kernel[..., outs[0]], *_bias(op, outs[0])]
        if op.groups > 1:  # whole: both are the identity
            return {}, op.get_weights()
        weights = [kernel[..., ins[0], :][..., outs[0]], *_bias(op, outs[0])]
        return {"filters": len(outs[0])}, weights


@register_rule(layers.DepthwiseConv1D, layers.DepthwiseConv2D)
class DepthwiseConvRule(LayerRule):
    """Depthwise convolutions: ``kernel`` (window..., channels, multiplier), each channel alone.

    A multiplier above 1 makes output channel ``c * multiplier + j``; such a layer is whole.
    """

    ordered = True

    def is_whole(self, ctx: TraceContext) -> bool:
        return ctx.op.depth_multiplier > 1

    def trace(self, ctx: TraceContext) -> list[Layout]:
        axis = same_axis(ctx)
        if ctx.op.depth_multiplier > 1:
            return [ctx.new(ctx.output_shapes[0][axis], axis)]
        return [ctx.inputs[0]]

    def slice(self, op, ins, outs):
        if op.depth_multiplier > 1:  # whole: both are the identity
            return {}, op.get_weights()
        return {}, [convert_to_numpy(op.kernel)[..., ins[0], :], *_bias(op, outs[0])]


@register_rule(layers.SeparableConv1D, layers.SeparableConv2D)
class SeparableConvRule(LayerRule):
    """Separable convolutions: depthwise, then the ``pointwise_kernel`` (1..., in, out) to split.

    A depth multiplier above 1 makes the layer whole.
    """

    kernel = True
    ordered = True

    def kernel_of(self, layer):
        return layer.pointwise_kernel

    def is_whole(self, ctx: TraceContext) -> bool:
        return ctx.op.depth_multiplier > 1

    def trace(self, ctx: TraceContext) -> list[Layout]:
        return [ctx.new(ctx.op.filters, same_axis(ctx))]

    def slice(self, op, ins, outs):
        if op.depth_multiplier > 1:  # whole: both are the identity
            return {}, op.get_weights()
        depthwise = convert_to_numpy(op.depthwise_kernel)[..., ins[0], :]
        pointwise = convert_to_numpy(op.pointwise_kernel)[..., ins[0], :][..., outs[0]]
        return {"filters": len(outs[0])}, [depthwise, pointwise, *_bias(op, outs[0])]


def _bias(op, kept: np.ndarray) -> list[np.ndarray]:
    return [convert_to_numpy(op.bias)[kept]] if op.use_bias else []
