"""Learning rates as functions of the step alone."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

Schedule = Callable[[int], float]


def step_decay(
    initial: float, boundaries: Sequence[int], decay: float, warmup: int = 0
) -> Schedule:
    """``initial`` times ``decay`` for every boundary passed, after a linear warm-up.

    Args:
      initial: learning rate after the warm-up.
      boundaries: steps from which the rate is decayed once more.
      decay: factor at each boundary.
      warmup: steps over which the rate rises to ``initial``.
    """

    def rate(step: int) -> float:
        passed = sum(step >= boundary for boundary in boundaries)
        return _warm(step, warmup) * initial * decay**passed

    return rate


def cosine(
    initial: float, total: int, warmup: int = 0, hold: int = 0, final: float = 0.0
) -> Schedule:
    """``initial`` until step ``hold``, then half a cosine down to ``final`` at step ``total``."""

    def rate(step: int) -> float:
        start = max(hold, warmup)
        if step < start:
            return _warm(step, warmup) * initial
        share = min(1.0, (step - start) / max(1, total - start))
        return final + (initial - final) * 0.5 * (1.0 + math.cos(math.pi * share))

    return rate


def _warm(step: int, warmup: int) -> float:
    return min(1.0, (step + 1) / warmup) if warmup else 1.0


def ramp(start: int, end: int, low: float, high: float) -> Schedule:
    """``low`` until step ``start``, then in equal ratios up to ``high`` at step ``end``."""

    def value(step: int) -> float:
        if step <= start or low == high:
            return low
        share = min(1.0, (step - start) / max(1, end - start))
        return low * (high / low) ** share if low > 0 else high * share

    return value
