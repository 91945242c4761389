"""Channels of a model on several devices: who makes which channel of a space."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import ClassVar

import keras
import numpy as np

from splitnet_tf.errors import ArgumentError, SplitNetError
from splitnet_tf.graph.channel_sets import ChannelSets
from splitnet_tf.graph.trace import Trace, trace

EVERYWHERE = -1  # in the place of a device: all of them have the channel


@dataclasses.dataclass(frozen=True)
class DeviceChannels(ChannelSets):
    """Channels of one space on each device, every channel on one of them."""

    complete: ClassVar[bool] = True
    error: ClassVar[type[SplitNetError]] = ArgumentError


@dataclasses.dataclass(frozen=True)
class ChannelDevices:
    """Devices of the channels of a model.

    Attributes:
      num_devices: int, 2 or more.
      spaces: ``DeviceChannels`` of the spaces that are divided; every device has the others whole.
    """

    num_devices: int
    spaces: tuple[DeviceChannels, ...]

    def labels(self, traced: Trace, tensor: int) -> np.ndarray:
        """Device of each channel of a tensor, int (channels,); ``EVERYWHERE`` for all of them."""
        known = {space.name: space for space in self.spaces}
        layout, parts = traced.layouts[tensor], [np.zeros(0, int)]
        for s, width in zip(layout.spaces, layout.widths, strict=True):
            space = traced.spaces[s]
            found = known.get(space.name)
            labels = np.full(space.size, EVERYWHERE) if found is None else found.labels()
            parts.append(np.repeat(labels, width))
        return np.concatenate(parts)


def place_channels(
    model: keras.Model | Trace,
    num_devices: int,
    placement: Mapping[str, Sequence[Sequence[int]]] | None = None,
) -> ChannelDevices:
    """Divides the channels of a model among devices.

    Spaces of the model's inputs are not divided: every device is sent the whole inputs. Neither are
    spaces of fewer channels than devices.

    Args:
      model: functional ``keras.Model``, or its trace.
      num_devices: int, 2 or more.
      placement: name of a space to the channels of each device, such as
        ``{"conv1": [[0, 2], [1, 3]]}``; ``{s.name: s.members for s in grouping.spaces}`` takes the
        groups of a ``Grouping``. Spaces that it lacks, and by default all, are divided into
        contiguous parts of equal size.

    Raises:
      ArgumentError: too few devices, or a placement that does not fit the model.

    >>> net = sn.models.mlp((6,), num_classes=4, input_shape=(3,))
    >>> [space.members for space in sn.place_channels(net, 2).spaces]
    [((0, 1, 2), (3, 4, 5)), ((0, 1), (2, 3))]
    """
    traced = model if isinstance(model, Trace) else trace(model)
    if not isinstance(num_devices, int) or num_devices < 2:
        raise ArgumentError(f"`num_devices` must be 2 or more; got {num_devices!r}.")
    given = dict(placement or {})
    inputs = {s for t in traced.graph.inputs for s in traced.layouts[t].spaces}
    divided = [
        space
        for i, space in enumerate(traced.spaces)
        if i not in inputs and space.size >= num_devices
    ]
    unknown = sorted(given.keys() - {space.name for space in divided})
    if unknown:
        raise ArgumentError(
            f"`placement`: '{unknown[0]}' is no channel space that can be divided; there are "
            f"{', '.join(space.name for space in divided)}."
        )
    found = []
    for space in divided:
        if space.name in given:
            members = tuple(tuple(sorted(map(int, part))) for part in given[space.name])
            if len(members) != num_devices or not all(members):
                raise ArgumentError(
                    f"`placement`: space '{space.name}' needs channels for each of "
                    f"{num_devices} devices."
                )
        else:
            parts = np.array_split(np.arange(space.size), num_devices)
            members = tuple(tuple(part.tolist()) for part in parts)
        found.append(DeviceChannels(space.name, members, space.size))
        found[-1].check()
    return ChannelDevices(num_devices, tuple(found))
