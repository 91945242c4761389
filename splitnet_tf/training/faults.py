"""Values of a step that are not finite, as the beginning of a sentence."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import keras
import numpy as np


def fault_of_step(scalars: Mapping[str, float], loss_names: Sequence[str] = ()) -> str | None:
    """The first of a step's scalars that is not finite; None when all are.

    Args:
      scalars: see ``BaseTrainStep``.
      loss_names: of the model's losses.
    """
    for name, value in scalars.items():
        if not math.isfinite(value):
            known = {f"model_loss_{i}": own for i, own in enumerate(loss_names)}
            return f"the {known.get(name, name).replace('_', ' ')} became {value}"
    return None


def fault_of_batch(x: Any, y: Any, weight: Any) -> str | None:
    """The part of a training batch that is not finite numbers; None when all are.

    Args:
      x, y, weight: images, labels and sample weights, nested or not; weights may be None.
    """
    for what, values in (("images", x), ("labels", y), ("sample weights", weight)):
        for value in keras.tree.flatten(values):
            value = np.asarray(0 if value is None else value)
            if np.issubdtype(value.dtype, np.floating) and not np.isfinite(value).all():
                return f"the {what} of its batch are not finite numbers"
    return None


def fault_of_update(variables: Iterable[keras.Variable]) -> str | None:
    """The first variable that an update has made no finite numbers; None when there is none."""
    for variable in variables:
        value = np.asarray(variable)
        if np.issubdtype(value.dtype, np.floating) and not np.isfinite(value).all():
            name = getattr(variable, "path", "a variable")  # copies on devices have none
            return f"{name} became not finite"
    return None
