"""Curves from the entries of a run's log."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np

from splitnet_tf.report.run_folder import number

MOST_POINTS = 240


@dataclasses.dataclass(frozen=True)
class Curve:
    """Number over steps.

    Attributes:
      name: name of the number.
      steps, values: float (n,), steps ascending.
    """

    name: str
    steps: np.ndarray
    values: np.ndarray

    @property
    def last(self) -> float:
        """Value at the last step."""
        return float(self.values[-1])


def read_curve(entries: Sequence[dict[str, Any]], key: str, name: str = "") -> Curve | None:
    """Reads the values of one key, thinned to ``MOST_POINTS``; None where there is none."""
    points = {e["step"]: number(e, key) for e in entries}
    points = {step: value for step, value in points.items() if value is not None}
    if not points:
        return None
    steps = np.array(sorted(points), float)
    values = np.array([points[step] for step in sorted(points)])
    keep = np.unique(np.linspace(0, len(steps) - 1, MOST_POINTS).round().astype(int))
    return Curve(name or key, steps[keep], values[keep])


def largest_p(entries: Sequence[dict[str, Any]]) -> list[Curve]:
    """Reads the mean largest membership of each space."""
    names = _spaces(entries, "largest_p/")
    curves = [read_curve(entries, f"largest_p/{name}", name) for name in names]
    return [c for c in curves if c]


def group_sizes(entries: Sequence[dict[str, Any]]) -> dict[str, list[Curve]]:
    """Reads the sizes of the groups of each space."""
    found: dict[str, list[Curve]] = {}
    for key in _spaces(entries, "group_size/"):
        space, _, group = key.rpartition("/")
        curve = read_curve(entries, f"group_size/{key}", group)
        if space and curve:
            found.setdefault(space, []).append(curve)
    return found


def zero_shares(entries: Sequence[dict[str, Any]]) -> dict[str, list[Curve]]:
    """Reads the share of groups at zero of each layer or space, by structure."""
    found: dict[str, list[Curve]] = {}
    for key in _spaces(entries, "zero_share/"):
        structure, _, name = key.partition("/")
        curve = read_curve(entries, f"zero_share/{key}", name)
        if curve:
            found.setdefault(structure, []).append(curve)
    return found


def _spaces(entries: Sequence[dict[str, Any]], prefix: str) -> list[str]:
    keys = dict.fromkeys(key for e in entries for key in e if key.startswith(prefix))
    return [key.removeprefix(prefix) for key in keys]


def spread_out(items: Sequence, most: int) -> list:
    """Picks at most ``most`` of the items, the first and the last among them."""
    keep = np.unique(np.linspace(0, len(items) - 1, most).round().astype(int))
    return [items[i] for i in keep] if len(items) else []
