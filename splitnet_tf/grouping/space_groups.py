"""Groups of one space: a partition of its channels."""

from __future__ import annotations

import dataclasses
from typing import ClassVar

import numpy as np

from splitnet_tf.errors import EmptyGroupError, GroupingError, SplitNetError
from splitnet_tf.graph.channel_sets import ChannelSets


@dataclasses.dataclass(frozen=True)
class SpaceGroups(ChannelSets):
    """Groups of one space; every channel is in one group, no group is empty.

    Attributes:
      name: str, name of the space.
      members: for each group its channels, ascending ints.
      size: int, channels of the space; by default as many as there are members.
    """

    complete: ClassVar[bool] = True
    error: ClassVar[type[SplitNetError]] = GroupingError

    @property
    def num_groups(self) -> int:
        """Number of the groups."""
        return len(self.members)

    @classmethod
    def from_labels(cls, name: str, labels: np.ndarray, num_groups: int) -> SpaceGroups:
        """Makes groups from the group of each channel.

        Args:
          name: str, name of the space.
          labels: int (size,), from 0 to ``num_groups`` - 1.
          num_groups: int, number of the groups.

        Raises:
          GroupingError: a label that is none of the groups.
        """
        labels = np.asarray(labels)
        if labels.ndim != 1 or not np.isin(labels, np.arange(num_groups)).all():
            raise GroupingError(
                f"Space '{name}' takes a label from 0 to {num_groups - 1} for each channel; got "
                f"shape {labels.shape} with {np.unique(labels)[:8].tolist()}."
            )
        members = (tuple(np.flatnonzero(labels == g).tolist()) for g in range(num_groups))
        return cls(name, tuple(members))

    def check(self) -> None:
        """Checks that every channel is in one group.

        Raises:
          EmptyGroupError: a group has none.
          GroupingError: channels are missing or repeated.
        """
        for g, channels in enumerate(self.members):
            if not channels:
                raise EmptyGroupError(
                    f"Group {g} of space '{self.name}' is empty (sizes "
                    f"{'/'.join(str(len(m)) for m in self.members)})"
                )
        super().check()
