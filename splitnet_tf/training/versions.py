"""Versions of what computes."""

from __future__ import annotations

import keras
import numpy as np
import sklearn
import tensorflow as tf


def versions() -> dict[str, str]:
    """Versions that must be equal for a run to repeat itself to the bit."""
    packages = {"tensorflow": tf, "keras": keras, "numpy": np, "scikit-learn": sklearn}
    return {name: package.__version__ for name, package in packages.items()}
