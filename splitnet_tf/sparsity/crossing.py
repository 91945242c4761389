"""Bytes that cross between devices: with all blocks, and with those that are left."""

from __future__ import annotations

import keras

from splitnet_tf.graph.channel_devices import ChannelDevices
from splitnet_tf.graph.messages import Messages
from splitnet_tf.graph.trace import Trace, trace


def bytes_crossing(model: keras.Model | Trace, devices: ChannelDevices) -> tuple[int, int] | None:
    """Bytes between devices for one example, with every block and with those that are not zero.

    Args:
      model: functional ``keras.Model``, or its trace.
      devices: ``ChannelDevices`` of the model.

    Returns:
      Both numbers, that of the outputs included; None where they depend on the inputs' size.

    >>> net = sn.models.mlp((6,), num_classes=4, input_shape=(3,))
    >>> bytes_crossing(net, sn.place_channels(net, num_devices=2))
    (32, 32)
    """
    traced = model if isinstance(model, Trace) else trace(model)
    found = tuple(Messages(traced, devices, every).bytes for every in (True, False))
    return None if None in found else found
