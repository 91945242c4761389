"""Rules of layers with a kernel: dense layers and convolutions."""

from __future__ import annotations

import numpy as np
from keras import layers

from splitnet_tf.graph.layer_rules import data_axis
from splitnet_tf.graph.rules import LayerRule, TraceContext, register_rule
from splitnet_tf.graph.spaces import Layout


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
