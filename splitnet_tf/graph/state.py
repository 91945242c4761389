"""State of a model: its variables but for those that hold a setting.

A setting, such as the weight of a loss, is a variable so that compiled functions read it. It stands
in the model's configuration, and is no part of checkpoints and digests.
"""

from __future__ import annotations

from collections.abc import Iterable

import keras


def mark_setting(variable: keras.Variable) -> keras.Variable:
    """Marks a variable as one that holds a setting; returns it."""
    variable.is_setting = True
    return variable


def without_settings(variables: Iterable[keras.Variable]) -> list[keras.Variable]:
    """The variables that are not marked, in order."""
    return [v for v in variables if not getattr(v, "is_setting", False)]
