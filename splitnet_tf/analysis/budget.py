"""Limits of parameters and FLOPs: numbers, or shares of the whole model's."""

from __future__ import annotations

import dataclasses
import math

from splitnet_tf.errors import ArgumentError


@dataclasses.dataclass(frozen=True)
class Budget:
    """A limit. Prints as ``parse`` reads it.

    Attributes:
      value: float above 0.
      relative: bool, whether ``value`` is a share of what the whole model has.
    """

    value: float
    relative: bool = False

    @classmethod
    def parse(cls, text: str | float) -> Budget:
        """Reads a number such as ``2e6``, or a share of the whole model such as ``0.5x``.

        Raises:
          ArgumentError: neither, or not above 0.

        >>> Budget.parse("0.5x").limit(200), Budget.parse("1e3").limit(200)
        (100.0, 1000.0)
        """
        text = str(text).strip()
        relative = text.endswith("x")
        try:
            value = float(text.removesuffix("x"))
        except ValueError:
            value = math.nan
        if not 0 < value < math.inf:
            raise ArgumentError(
                f"A budget must be a number above 0, or a share such as 0.5x; got '{text}'."
            )
        return cls(value, relative)

    def limit(self, whole: float) -> float:
        """The most that is allowed, for a model that has ``whole``."""
        return self.value * whole if self.relative else self.value

    def __str__(self) -> str:
        return f"{self.value:.15g}{'x' if self.relative else ''}"
