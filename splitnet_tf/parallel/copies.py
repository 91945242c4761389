"""Several variables that hold the same value."""

from __future__ import annotations

from collections.abc import Sequence

import keras
import numpy as np


class Copies:
    """Copies of one variable on several devices: read from the first, written to all.

    Args:
      variables: one a device, equal in shape and value.
    """

    def __init__(self, variables: Sequence[keras.Variable]):
        self.variables = tuple(variables)

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the variable."""
        return tuple(self.variables[0].shape)

    def __array__(self, dtype=None, copy=None) -> np.ndarray:
        value = keras.ops.convert_to_numpy(self.variables[0])
        return value if dtype is None else value.astype(dtype)

    def assign(self, value) -> None:
        """Gives every copy the value."""
        for variable in self.variables:
            variable.assign(value)
