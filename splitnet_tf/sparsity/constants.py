"""Constant channels: what each layer makes of a channel that has the same value everywhere.

A filter of zeros still emits its bias; behind a batch norm it emits the offset. A channel is
constant here when, for every input of the model, it has one value at every position. Kernels answer
by their weights: a constant that is not zero ends at zero padding. Every other layer that works on
each channel alone is run on the constants, and what comes out is looked at.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from keras import layers, ops

from splitnet_tf.graph.calls import Call
from splitnet_tf.graph.keras_reader import operation_key
from splitnet_tf.graph.kernel_rules import ConvRule, DepthwiseConvRule
from splitnet_tf.graph.trace import Trace
from splitnet_tf.sparsity.kernel_views import KernelView
from splitnet_tf.sparsity.weight_axes import channels_of_spaces

TOLERANCE = 1e-6


def constant_channels(traced: Trace, views: Mapping[str, KernelView]) -> dict[int, np.ndarray]:
    """Finds the constant channels of every tensor at inference.

    Args:
      traced: trace of the model.
      views: ``kernel_views`` of it.

    Returns:
      Tensor id to float64 (channels,): the constant of each channel, nan for those that vary.
    """
    values = {t: np.full(traced.size(t), np.nan) for t in traced.graph.inputs}
    for call in traced.graph.calls:
        made = _of_call(traced, views, call, values)
        values.update(zip(call.outputs, made, strict=True))
    return values


def _of_call(traced: Trace, views, call: Call, values) -> list[np.ndarray]:
    unknown = [np.full(traced.size(t), np.nan) for t in call.outputs]
    if call.name in traced.whole or call.kwargs.get("training"):
        return unknown
    if call.name in views:
        found = views[call.name].constants(values[call.inputs[0]])
        activation = getattr(call.op, "activation", None)
        if activation is not None and "activation" not in call.overrides:
            found = _apply(activation, found)
        return [found]
    if len(call.outputs) != 1:
        return unknown
    varies = _varies(traced, call, values)
    unsure = not all(all(traced.graph.shapes[t][1:]) for t in (*call.inputs, *call.outputs))
    if varies.all() or unsure:
        return unknown
    return [np.where(varies, np.nan, _run(traced, call, values))]


def _varies(traced: Trace, call: Call, values) -> np.ndarray:
    """Tells for each channel of the output if it depends on an input that varies."""
    space, index = channels_of_spaces(traced, call.outputs[0])
    varies = np.zeros(len(space), bool)
    zero = np.zeros(len(space), bool)
    for t in call.inputs:
        own_space, own_index = channels_of_spaces(traced, t)
        lost = {(s, c) for s, c, v in zip(own_space, own_index, values[t], strict=True) if v != v}
        if set(space) & set(own_space):
            varies |= np.array([(s, c) in lost for s, c in zip(space, index, strict=True)])
        elif lost:  # a mask, or one channel for all
            varies[:] = True
        if len(own_space) == len(space):
            zero |= values[t] == 0
    if isinstance(call.op, layers.Multiply) or operation_key(call.op) == "ops.Multiply":
        varies &= ~zero
    return varies & _passes(traced, call)


def _passes(traced: Trace, call: Call) -> np.ndarray:
    """Tells for each channel if the layer lets anything of its input through."""
    rule, op = traced.rule(call), call.op
    weights = None
    if isinstance(rule, DepthwiseConvRule):
        weights = ops.convert_to_numpy(op.kernel)[..., 0]
    elif isinstance(rule, ConvRule):  # one group a channel
        weights = ops.convert_to_numpy(op.kernel)[..., 0, :]
    elif getattr(rule, "gamma_scales", False) and getattr(op, "gamma", None) is not None:
        weights = ops.convert_to_numpy(op.gamma)
    if weights is None:
        return np.ones(traced.size(call.outputs[0]), bool)
    return (weights != 0).any(axis=tuple(range(weights.ndim - 1)))


def _run(traced: Trace, call: Call, values) -> np.ndarray:
    """Runs the call on the constants; (channels,), nan where a channel is no constant then."""
    graph = traced.graph
    tensors = {}
    for t in call.inputs:
        shape = (1, *graph.shapes[t][1:])
        broadcast = [1] * len(shape)
        broadcast[traced.layouts[t].axis] = len(values[t])
        filled = np.broadcast_to(np.nan_to_num(values[t]).reshape(broadcast), shape)
        tensors[t] = ops.cast(ops.convert_to_tensor(filled), graph.dtypes[t])
    args, kwargs = call.fill(tensors)
    made = ops.convert_to_numpy(call.op(*args, **kwargs)).astype("float64")
    made = np.moveaxis(made, traced.layouts[call.outputs[0]].axis, -1)
    return _one_value(made.reshape(-1, made.shape[-1]))


def _one_value(made: np.ndarray) -> np.ndarray:
    """The value of each column whose rows are alike; nan for any other."""
    low, high = made.min(axis=0), made.max(axis=0)
    alike = np.isfinite(low) & np.isfinite(high)
    with np.errstate(invalid="ignore"):
        alike &= high - low <= TOLERANCE * np.maximum(1.0, np.abs(high))
    return np.where(alike, made[0], np.nan)


def _apply(activation, values: np.ndarray) -> np.ndarray:
    """An element-wise function of the constants."""
    known = ~np.isnan(values)
    inner = ops.convert_to_tensor(np.nan_to_num(values)[None].astype("float32"))
    made = ops.convert_to_numpy(activation(inner))[0]
    return np.where(known & np.isfinite(made), made, np.nan)
