"""Agreement of two models: whether one computes what the other does."""

from __future__ import annotations

import keras
import numpy as np

from splitnet_tf.data.feeds import Feed

APART = 1e-4  # most by which rounding makes outputs differ, relative to the largest


def difference_on(one: keras.Model, other: keras.Model, data: Feed, count: int = 32) -> float:
    """The largest difference between the outputs of two models, relative to the first one's.

    Args:
      one, other: models of the same inputs and outputs; run as at inference.
      data: the first batch is taken.
      count: int, examples of it, at most.
    """
    inputs = next(iter(data.inputs()))
    inputs = keras.tree.map_structure(lambda x: x[:count], inputs)
    pairs = zip(
        keras.tree.flatten(one(inputs, training=False)),
        keras.tree.flatten(other(inputs, training=False)),
        strict=True,
    )
    difference = 0.0
    for expected, found in pairs:
        expected, found = (keras.ops.convert_to_numpy(x) for x in (expected, found))
        apart = np.abs(found - expected).max() / max(1.0, np.abs(expected).max())
        difference = max(difference, float(apart))
    return difference
