"""Functional models as data: channel spaces, layer rules, copying, slicing."""

from splitnet_tf.graph.activations import register_activation
from splitnet_tf.graph.calls import Call, Graph
from splitnet_tf.graph.channel_devices import ChannelDevices, place_channels
from splitnet_tf.graph.copying import logits_model, plain_copy
from splitnet_tf.graph.keras_reader import read_graph
from splitnet_tf.graph.layer_rules import KeepRule, MixRule, PerChannelRule
from splitnet_tf.graph.rules import (
    LayerRule,
    TraceContext,
    UnknownLayerError,
    register_rule,
)
from splitnet_tf.graph.shape_rules import JoinRule
from splitnet_tf.graph.spaces import Layout, Space
from splitnet_tf.graph.trace import Trace, trace

__all__ = [
    "Call",
    "ChannelDevices",
    "Graph",
    "JoinRule",
    "KeepRule",
    "Layout",
    "LayerRule",
    "MixRule",
    "PerChannelRule",
    "Space",
    "Trace",
    "TraceContext",
    "UnknownLayerError",
    "logits_model",
    "place_channels",
    "plain_copy",
    "read_graph",
    "register_activation",
    "register_rule",
    "trace",
]
