"""Orders of training images, as functions of a seed alone: no state to save or to restore."""

from __future__ import annotations

import numpy as np


def epoch_order(seed: int, epoch: int, count: int) -> np.ndarray:
    """The order of ``count`` images in an epoch, int (count,)."""
    return np.random.default_rng([seed, 31, epoch]).permutation(count)


def calibration_order(seed: int, count: int) -> np.ndarray:
    """The order in which ``count`` images serve to estimate statistics, int (count,)."""
    return np.random.default_rng([seed, 37]).permutation(count)
