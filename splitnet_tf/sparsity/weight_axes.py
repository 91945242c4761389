"""Axes of a layer's weights that are channels of the tensors it reads and makes."""

from __future__ import annotations

import dataclasses

import keras
import numpy as np

from splitnet_tf.graph.calls import Call
from splitnet_tf.graph.kernel_rules import (
    ConvRule,
    DepthwiseConvRule,
    SeparableConvRule,
)
from splitnet_tf.graph.layer_rules import PerChannelRule
from splitnet_tf.graph.trace import Trace


@dataclasses.dataclass(frozen=True)
class ChannelAxis:
    """One axis of a variable that runs over the channels of a tensor.

    Attributes:
      variable: keras.Variable.
      axis: int from 0, the axis.
      tensor: int, id of the tensor in the trace.
    """

    variable: keras.Variable
    axis: int
    tensor: int


STATISTICS = ("moving_mean", "moving_variance")


def channel_axes(traced: Trace, call: Call, frozen: bool = False) -> list[ChannelAxis]:
    """Lists where the weights of a call have the channels of its tensors.

    Kernels, biases, depthwise kernels and the weights of batch norms and other layers with a weight
    a channel are listed; slopes of a PReLU are not, since zero comes out of zero with any slope. A
    call that needs all its channels has none.

    Args:
      traced: trace of the model.
      call: one of its calls.
      frozen: bool, whether weights that are not trained are listed too. Defaults to False.
    """
    op, rule = call.op, traced.rule(call)
    if call.name in traced.whole or not getattr(op, "weights", None):
        return []
    read, made = call.inputs[0], call.outputs[0]
    bias = (getattr(op, "bias", None), -1, made)
    if isinstance(rule, SeparableConvRule):
        pointwise = op.pointwise_kernel
        found = [
            (op.depthwise_kernel, -2, read),
            (pointwise, -2, read),
            (pointwise, -1, made),
            bias,
        ]
    elif call.name in traced.kernels:
        kernel = rule.kernel_of(op)
        rows, columns = rule.kernel_axes
        found = [(kernel, rows, read), (kernel, columns, made), bias]
    elif isinstance(rule, DepthwiseConvRule):
        found = [(op.kernel, -2, read), bias]
    elif isinstance(rule, ConvRule):  # a convolution with one group a channel
        found = [(op.kernel, -1, made), bias]
    elif isinstance(rule, PerChannelRule):
        channels = (traced.size(made),)
        own = [w for w in op.weights if w.name not in STATISTICS]
        found = [(w, -1, made) for w in own if tuple(w.shape) == channels]
    else:
        found = []
    return [
        ChannelAxis(v, axis % len(v.shape), tensor)
        for v, axis, tensor in found
        if v is not None and (frozen or v.trainable)
    ]


def layers_of(traced: Trace) -> dict[str, Call]:
    """The first call of every layer, by the layer's name."""
    found: dict[int, Call] = {}
    for call in traced.graph.calls:
        found.setdefault(id(call.op), call)
    return {call.layer_name: call for call in found.values()}


def channels_of_spaces(traced: Trace, tensor: int) -> tuple[np.ndarray, np.ndarray]:
    """The space of each channel of a tensor and its index there, int (channels,) each."""
    spaces = traced.layouts[tensor].spaces
    sizes = [traced.spaces[s].size for s in spaces]
    index = [np.arange(n) for n in sizes]
    return np.repeat(spaces, sizes).astype(int), np.concatenate([*index, np.empty(0, int)])


def fixed_spaces(traced: Trace) -> dict[int, str]:
    """Spaces whose channels cannot be taken out, each with the reason.

    Those of the model's inputs and outputs, and those that a call needs whole.
    """
    found: dict[int, str] = {}

    def fix(tensor: int, reason: str) -> None:
        for space in traced.layouts[tensor].spaces:
            found.setdefault(space, reason)

    for t in traced.graph.inputs:
        fix(t, "it is an input of the model")
    for t in traced.graph.outputs:
        fix(t, "it is an output of the model")
    for call in traced.graph.calls:
        whole = call.name in traced.whole
        for t in (*call.inputs, *call.outputs) if whole else traced.broadcast(call):
            fix(t, f"layer '{call.layer_name}' needs all of its channels")
    return found


def kernels_of(traced: Trace, call: Call) -> list[keras.Variable]:
    """Kernels of a call's layer: one, or the two of a separable convolution.

    Their axes are (window..., in, out) but for ``rule.kernel_axes``. Layers that no rule describes
    have none.
    """
    rule = traced.rule(call)
    if isinstance(rule, SeparableConvRule):
        return [call.op.depthwise_kernel, call.op.pointwise_kernel]
    if rule.kernel or isinstance(rule, DepthwiseConvRule):
        return [rule.kernel_of(call.op)]
    return []
