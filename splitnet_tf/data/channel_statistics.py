"""Mean and deviation of the channels of a data set's training images."""

from __future__ import annotations

import numpy as np

from splitnet_tf.data.dataset import Split
from splitnet_tf.data.order import calibration_order
from splitnet_tf.errors import ArgumentError
from splitnet_tf.recipe.preprocessing import NONE, Preprocessing

MOST = 5000  # images that are looked at
DIGITS = 4


def standardize(split: Split) -> Preprocessing:
    """The preprocessing ``standardize`` with mean and deviation of the images themselves.

    At most 5,000 are looked at, always the same; the constants have four digits.

    Raises:
      ArgumentError: the data are not pixels from 0 to 255.
    """
    from splitnet_tf.data.pipeline import evaluation_batches

    if split.images.ndim != 4 or split.images.dtype != np.uint8:
        raise ArgumentError(
            "`preprocessing=standardize:data` is for images of bytes, whose mean and deviation it "
            "takes; give the constants, or `preprocessing=none`."
        )
    chosen, sums, count = calibration_order(0, len(split))[:MOST], 0.0, 0
    for images, _ in evaluation_batches(split.rows(chosen), 100, preprocessing=NONE):
        x = np.asarray(images, np.float64) / 255
        sums = sums + np.stack([x.sum(axis=(0, 1, 2)), (x**2).sum(axis=(0, 1, 2))])
        count += x[..., 0].size
    mean = sums[0] / count
    deviation = np.sqrt(np.maximum(sums[1] / count - mean**2, 0))
    if not np.all(deviation >= 10.0**-DIGITS):
        raise ArgumentError(
            "`preprocessing=standardize:data`: a channel of the training images has one value; "
            "use `preprocessing=scale01`."
        )
    rounded = (tuple(np.round(values, DIGITS).tolist()) for values in (mean, deviation))
    return Preprocessing("standardize", *rounded)
