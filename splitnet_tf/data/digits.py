"""Handwritten digits of 8x8 pixels, which scikit-learn brings along."""

from __future__ import annotations

import numpy as np

from splitnet_tf.data.dataset import Dataset, Split

CLASS_NAMES = tuple("0123456789")
SIZES = (1257, 180, 360)  # training, validation, test
SEED = 2016


def load_digits() -> Dataset:
    """Loads 1,257 training, 180 validation and 360 test images (UCI's optical digits, Alpaydin).

    Returns:
      Images uint8 (N, 8, 8, 1), in an order and splits that are always the same.

    >>> load_digits().input_shape
    (8, 8, 1)
    """
    from sklearn import datasets

    found = datasets.load_digits()
    order = np.random.default_rng(SEED).permutation(len(found.target))
    images = np.round(found.images[order, ..., None] * (255 / 16)).astype(np.uint8)
    labels = found.target[order].astype(np.int32)
    splits, start = [], 0
    for size in SIZES:
        splits.append(Split(images[start : start + size], labels[start : start + size]))
        start += size
    return Dataset("digits", *splits, CLASS_NAMES)
