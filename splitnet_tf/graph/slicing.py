"""Slicing: calls of a model built anew on some channels of their tensors."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from splitnet_tf.graph.calls import Call, is_keras_operation
from splitnet_tf.graph.copying import apply_call, copy_layer, copy_operation
from splitnet_tf.graph.trace import Trace


def run_calls(
    traced: Trace,
    calls: Iterable[Call],
    channels: Callable[[int], np.ndarray],
    tensors: dict[int, Any],
    prefix: str = "",
    settings: Callable[[Call], dict] = lambda call: {},
) -> None:
    """Builds the layers of some calls for fewer channels, with their weights, and runs them.

    Args:
      traced: trace of the model.
      calls: calls of its graph, in topological order.
      channels: tensor id to the channels kept, indices into its channel axis in their new order.
      tensors: tensor id to symbolic tensor; holds what the calls read from others, and receives
        what they make.
      prefix: start of the names of the new layers.
      settings: settings in which the new layer of a call differs besides; by default none.
    """
    made: dict[int, Any] = {}
    for call in calls:
        shared = traced.broadcast(call)
        ins = [np.arange(traced.size(t)) if t in shared else channels(t) for t in call.inputs]
        outs = [channels(t) for t in call.outputs]
        weights = []
        if id(call.op) not in made:
            name = f"{prefix}{call.layer_name}"
            made[id(call.op)], weights = sliced(traced, call, name, ins, outs, settings(call))
        apply_call(call, made[id(call.op)], tensors)
        if weights:  # the call has built the layer
            made[id(call.op)].set_weights(weights)


def sliced(
    traced: Trace,
    call: Call,
    name: str,
    ins: list[np.ndarray],
    outs: list[np.ndarray],
    more: dict,
) -> tuple[Any, list[np.ndarray]]:
    """Makes the layer or operation in place of ``call.op`` for some channels.

    Args:
      traced: trace of the model.
      call: one of its calls.
      name: of the new layer.
      ins, outs: for each input and output the channels kept, see ``LayerRule.slice``.
      more: settings in which the new layer differs besides.

    Returns:
      The layer, unbuilt, and its weights; an operation has none.
    """
    settings, weights = traced.rule(call).slice(call.op, ins, outs)
    if is_keras_operation(call.op):
        return copy_operation(call.op, name, settings), []
    fewer = _initializers_for_fewer(call.op) if weights else {}
    return copy_layer(call.op, name, {**settings, **more, **fewer, **call.overrides}), weights


def _initializers_for_fewer(layer: Any) -> dict[str, str]:
    """Zeros instead of initializers that may be made for the channels of the whole layer alone.

    These are constant arrays and initializers that Keras does not have. Keras' others stay, so
    that the new layer can be trained from scratch.
    """
    found = {k: v for k, v in vars(layer).items() if k.endswith("_initializer") and v is not None}
    return {
        name: "zeros"
        for name, initializer in found.items()
        if not type(initializer).__module__.startswith("keras.")
        or np.ndim(getattr(initializer, "value", 0))
    }
