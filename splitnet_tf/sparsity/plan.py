"""A sparsity plan: which structures are penalized, how strongly, and by which step."""

from __future__ import annotations

import dataclasses
import math
import numbers
from collections.abc import Mapping, Sequence

import keras
import numpy as np

from splitnet_tf.errors import ArgumentError
from splitnet_tf.graph.channel_devices import ChannelDevices, place_channels
from splitnet_tf.graph.trace import Trace, trace
from splitnet_tf.sparsity.group_lasso import FACTORS, group_factors
from splitnet_tf.sparsity.structures import STRUCTURES, Groups, structure_groups

UPDATES = ("proximal", "subgradient")

Strength = float | Mapping[str, float]


@dataclasses.dataclass(frozen=True, eq=False)
class Term:
    """The groups of one structure in one layer or space, and their strengths.

    Attributes:
      groups: ``Groups``.
      strengths: float32 (groups,).
    """

    groups: Groups
    strengths: np.ndarray


@dataclasses.dataclass(frozen=True)
class SparsityPlan:
    """Strengths of group lasso for each structure.

    A strength is a float for every layer (or space) that the structure has by default, or a mapping
    from names of layers (or spaces) to floats for these alone.

    Attributes:
      filters, channels, shapes, filters2d, depth, layers, spaces, blocks: strength of each
        structure, see ``structures``. Defaults to 0, which leaves it out.
      num_devices: int, devices between which ``blocks`` lie, 2 or more. Defaults to None: the plan
        has no ``blocks``.
      placement: name of a channel space -> channels of each device, see ``place_channels``.
        Defaults to None, contiguous parts of equal size.
      factor: ``"none"`` (default: all groups alike) or ``"sqrt_size"`` (strength times the root of
        a group's size).
      update: ``"proximal"`` (default) shrinks each group after the optimizer's step and makes exact
        zeros; ``"subgradient"`` adds the penalty to the loss and sets small weights to zero, as the
        authors of SSL did.
      threshold: float, weights of smaller size are set to zero after a ``"subgradient"`` step.
        Defaults to 1e-4.

    Raises:
      ArgumentError: a value out of its range, or no strength at all.

    >>> plan = SparsityPlan(spaces=1e-4)
    >>> plan = SparsityPlan(filters=0.003, shapes={"conv2": 0.001})
    >>> plan = SparsityPlan(blocks=0.01, num_devices=2)
    """

    filters: Strength = 0.0
    channels: Strength = 0.0
    shapes: Strength = 0.0
    filters2d: Strength = 0.0
    depth: Strength = 0.0
    layers: Strength = 0.0
    spaces: Strength = 0.0
    blocks: Strength = 0.0
    num_devices: int | None = None
    placement: Mapping[str, Sequence[Sequence[int]]] | None = None
    factor: str = "none"
    update: str = "proximal"
    threshold: float = 1e-4

    def __post_init__(self):
        for name, known in (("factor", FACTORS), ("update", UPDATES)):
            if getattr(self, name) not in known:
                raise ArgumentError(
                    f"`{name}` must be one of {', '.join(known)}; got {getattr(self, name)!r}."
                )
        for name in (*STRUCTURES, "threshold"):
            value = getattr(self, name)
            for number in value.values() if isinstance(value, Mapping) else [value]:
                if not isinstance(number, numbers.Real) or not 0 <= number < math.inf:
                    raise ArgumentError(f"`{name}` must be a number of 0 or more; got {number!r}.")
        if not self.structures:
            raise ArgumentError(
                f"A plan needs a strength above 0 for one of {', '.join(STRUCTURES)}."
            )
        if ("blocks" in self.structures) != (self.num_devices is not None):
            raise ArgumentError("`blocks` and `num_devices` need each other: give both or neither.")
        if self.placement is not None and self.num_devices is None:
            raise ArgumentError("`placement` needs `blocks` and `num_devices`.")

    @property
    def structures(self) -> tuple[str, ...]:
        """Names of the structures that are penalized."""
        return tuple(s for s in STRUCTURES if _largest(getattr(self, s)) > 0)

    def devices(self, model: keras.Model | Trace) -> ChannelDevices | None:
        """Devices of a model's channels; None for a plan without ``blocks``.

        Raises:
          ArgumentError: a placement that does not fit the model.
        """
        if self.num_devices is None:
            return None
        return place_channels(model, self.num_devices, self.placement)

    def terms(self, model: keras.Model | Trace) -> tuple[Term, ...]:
        """Groups of a model with their strengths, in the order in which steps take them.

        Args:
          model: functional ``keras.Model``, or its trace.

        Raises:
          ArgumentError: a name that the model does not have, or a structure without groups in it.
        """
        traced = model if isinstance(model, Trace) else trace(model)
        devices, found = self.devices(traced), []
        for structure in self.structures:
            strength = getattr(self, structure)
            named = isinstance(strength, Mapping)
            names = tuple(strength) if named else None
            groups = structure_groups(traced, structure, names, devices=devices)
            if not groups:
                raise ArgumentError(
                    f"`{structure}`: no layer of the model has such groups; leave it out, or name "
                    "layers."
                )
            for g in groups:
                each = group_factors(g, self.factor) * (strength[g.name] if named else strength)
                found.append(Term(g, each.astype("float32")))
        return tuple(found)


def _largest(strength: Strength) -> float:
    return max(strength.values(), default=0) if isinstance(strength, Mapping) else strength
