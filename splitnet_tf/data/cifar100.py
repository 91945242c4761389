"""CIFAR-100 (Krizhevsky, 2009) from the files that tensorflow-datasets keeps."""

from __future__ import annotations

import numpy as np

from splitnet_tf.data.dataset import Dataset, Split
from splitnet_tf.data.from_tfds import TfdsSource
from splitnet_tf.data.partition import hold_out

SOURCE = TfdsSource(
    "cifar100",
    "CIFAR-100",
    lambda data_dir: f"run: python download_cifar100.py --data_dir={data_dir}",
)


def load_cifar100(data_dir: str | None = None) -> Dataset:
    """Loads 45,000 training, 5,000 validation (50 a class) and 10,000 test images.

    The validation images are always the same.

    Args:
      data_dir: folder in which tensorflow-datasets keeps its data. Defaults to
        ``default_data_dir()``.

    Raises:
      DataError: the data is missing or damaged; the sentence says what to run.
    """
    builder = SOURCE.open(data_dir)
    images, labels, coarse = SOURCE.read(builder, "train", "label", "coarse_label")
    superclasses = np.zeros(100, np.int32)
    superclasses[labels] = coarse
    features = builder.info.features
    return Dataset(
        "cifar100",
        *hold_out(Split(images, labels)),
        Split(*SOURCE.read(builder, "test", "label")),
        tuple(features["label"].names),
        superclasses,
        tuple(features["coarse_label"].names),
    )
