"""Timing for a noisy machine: interleaved repeats, medians, deviations."""

from __future__ import annotations

import dataclasses
import statistics
import time
from collections.abc import Callable


@dataclasses.dataclass(frozen=True)
class Timing:
    """Times of one case.

    Attributes:
      seconds: time of each repeat.
    """

    seconds: tuple[float, ...]

    @property
    def median(self) -> float:
        """Median of the times in seconds."""
        return statistics.median(self.seconds)

    @property
    def quartile_deviation(self) -> float:
        """Half the distance between the quartiles, relative to the median."""
        ordered = sorted(self.seconds)
        low, high = ordered[len(ordered) // 4], ordered[(3 * len(ordered)) // 4]
        return (high - low) / 2 / self.median


def interleave(
    cases: dict[str, Callable[[], object]], repeats: int, warmup: int = 2
) -> dict[str, Timing]:
    """Times cases in turn, ``repeats`` rounds after ``warmup`` untimed ones.

    Args:
      cases: name -> function that returns only when its work is done.
      repeats: int, timed rounds, 1 or more.
      warmup: int, untimed rounds before them. Defaults to 2.
    """
    found: dict[str, list[float]] = {name: [] for name in cases}
    for turn in range(warmup + repeats):
        for name, case in cases.items():
            start = time.perf_counter()
            case()
            if turn >= warmup:
                found[name].append(time.perf_counter() - start)
    return {name: Timing(tuple(seconds)) for name, seconds in found.items()}


def ratio(a: Timing, b: Timing) -> float:
    """Returns the median over the rounds of a's time divided by b's in the same round."""
    return statistics.median(x / y for x, y in zip(a.seconds, b.seconds, strict=True))
