"""CIFAR-100 (Krizhevsky, 2009) from the files that tensorflow-datasets keeps."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from splitnet_tf.data.dataset import Dataset, Split
from splitnet_tf.errors import DataError

VALID_PER_CLASS = 50
VALID_SEED = 2017


def default_data_dir() -> str:
    """Where data is looked for: ``$TFDS_DATA_DIR``, or ``~/tensorflow_datasets``."""
    return os.environ.get("TFDS_DATA_DIR", str(Path.home() / "tensorflow_datasets"))


def read_split(builder, split: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Images uint8 (N, 32, 32, 3), labels and coarse labels int32 (N,) of a tfds split."""
    import tensorflow as tf

    count = builder.info.splits[split].num_examples
    data = builder.as_dataset(split=split, shuffle_files=False, batch_size=None)
    data = data.batch(1000, num_parallel_calls=tf.data.AUTOTUNE)
    images, labels, coarse = [], [], []
    for batch in data.as_numpy_iterator():
        images.append(batch["image"])
        labels.append(batch["label"])
        coarse.append(batch["coarse_label"])
    if sum(len(b) for b in labels) != count:
        raise DataError(
            f"Split '{split}' of CIFAR-100 should hold {count} images but "
            f"{sum(len(b) for b in labels)} could be read; remove it and run "
            "download_cifar100.py again."
        )
    return (
        np.concatenate(images),
        np.concatenate(labels).astype(np.int32),
        np.concatenate(coarse).astype(np.int32),
    )


def open_builder(data_dir: str | None):
    """The tfds builder of a CIFAR-100 that is already on disk; nothing is downloaded.

    Raises:
      DataError: it is not there.
    """
    import tensorflow_datasets as tfds

    where = data_dir or default_data_dir()
    remedy = f"run: python download_cifar100.py --data_dir={where}"
    if not Path(where, "cifar100").is_dir():
        raise DataError(f"CIFAR-100 is not in {where}; {remedy}")
    try:
        builder = tfds.builder("cifar100", data_dir=where, try_gcs=False)
        found = builder.is_prepared()
    except Exception as error:  # tfds has no error class of its own for a damaged folder
        raise DataError(
            f"CIFAR-100 in {where} cannot be read ({type(error).__name__}); remove it and {remedy}"
        ) from None
    if not found:
        raise DataError(f"CIFAR-100 in {where} is not complete; {remedy}")
    return builder


def load_cifar100(data_dir: str | None = None) -> Dataset:
    """45,000 training, 5,000 validation (50 a class, always the same) and 10,000 test images.

    Args:
      data_dir: the folder that tensorflow-datasets keeps its data in.

    Raises:
      DataError: the data is missing or damaged; the sentence says what to run.
    """
    import tensorflow as tf

    builder = open_builder(data_dir)
    try:
        images, labels, coarse = read_split(builder, "train")
        test_images, test_labels, _ = read_split(builder, "test")
    except (tf.errors.OpError, OSError) as error:
        raise DataError(
            f"CIFAR-100 in {builder.data_dir} is damaged ({type(error).__name__}); remove that "
            "folder and run download_cifar100.py again."
        ) from None
    superclasses = np.zeros(100, np.int32)
    superclasses[labels] = coarse
    rng = np.random.default_rng(VALID_SEED)
    valid = np.sort(
        np.concatenate(
            [rng.permutation(np.flatnonzero(labels == c))[:VALID_PER_CLASS] for c in range(100)]
        )
    )
    train = np.setdiff1d(np.arange(len(labels)), valid)
    return Dataset(
        "cifar100",
        Split(images[train], labels[train]),
        Split(images[valid], labels[valid]),
        Split(test_images, test_labels),
        tuple(builder.info.features["label"].names),
        superclasses,
        tuple(builder.info.features["coarse_label"].names),
    )
