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
    """Returns the folder of data: ``$TFDS_DATA_DIR``, or else ``~/tensorflow_datasets``."""
    return os.environ.get("TFDS_DATA_DIR", str(Path.home() / "tensorflow_datasets"))


def read_split(builder, split: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Reads images uint8 (N, 32, 32, 3), labels and coarse labels int32 (N,) of a tfds split."""
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
            f"{sum(len(b) for b in labels)} could be read; {_again(builder)}"
        )
    return (
        np.concatenate(images),
        np.concatenate(labels).astype(np.int32),
        np.concatenate(coarse).astype(np.int32),
    )


def make_builder(data_dir: str):
    """Makes the tfds builder of CIFAR-100 in a folder; the data need not be there.

    Raises:
      DataError: the description of the data there is damaged.
    """
    import tensorflow_datasets as tfds

    try:
        return tfds.builder("cifar100", data_dir=data_dir, try_gcs=False)
    except Exception as error:  # tfds has no error class of its own for a damaged folder
        raise DataError(
            f"CIFAR-100 in {data_dir} cannot be read ({type(error).__name__}); remove "
            f"{Path(data_dir, 'cifar100')} and {_remedy(data_dir)}"
        ) from None


def is_complete(builder) -> bool:
    """Returns True when all of the data set is there; tfds looks for its description only."""
    splits = builder.info.splits
    # Files first: where there are none, tfds would warn on every first download.
    return (
        all(
            split in splits and all(os.path.isfile(file) for file in splits[split].filepaths)
            for split in ("train", "test")
        )
        and builder.is_prepared()
    )


def open_builder(data_dir: str | None):
    """Opens the tfds builder of a CIFAR-100 that is already on disk; nothing is downloaded.

    Raises:
      DataError: it is not there.
    """
    where = data_dir or default_data_dir()
    if not Path(where, "cifar100").is_dir():
        raise DataError(f"CIFAR-100 is not in {where}; {_remedy(where)}")
    builder = make_builder(where)
    if not is_complete(builder):
        raise DataError(f"CIFAR-100 in {where} is not complete; {_remedy(where)}")
    return builder


def load_cifar100(data_dir: str | None = None) -> Dataset:
    """Loads 45,000 training, 5,000 validation (50 a class) and 10,000 test images.

    The validation images are always the same.

    Args:
      data_dir: folder in which tensorflow-datasets keeps its data. Defaults to
        ``default_data_dir()``.

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
            f"CIFAR-100 in {builder.data_dir} is damaged ({type(error).__name__}); "
            f"{_again(builder)}"
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


def _remedy(data_dir: str | Path) -> str:
    return f"run: python download_cifar100.py --data_dir={data_dir}"


def _again(builder) -> str:
    folder = Path(builder.data_dir)  # <data_dir>/cifar100/<version>
    return f"remove {folder} and {_remedy(folder.parents[1])}"
