"""CIFAR, MNIST and digits, data of your own, the planted-groups generator and input pipelines."""

from __future__ import annotations

import re

from splitnet_tf.data.arrays import load_arrays, save_arrays
from splitnet_tf.data.cifar100 import load_cifar100
from splitnet_tf.data.dataset import NAMES, Dataset, Split
from splitnet_tf.data.digits import load_digits
from splitnet_tf.data.planted import planted_groups
from splitnet_tf.data.superclasses import (
    cifar100_superclasses,
    planted_superclasses,
    superclass_taxonomy,
)
from splitnet_tf.data.ten_classes import load_cifar10, load_mnist
from splitnet_tf.errors import DataError

_ON_TENSORFLOW = (
    "calibration_batches",
    "check_augmentation",
    "evaluation_batches",
    "steps_per_epoch",
    "training_batches",
)


def __getattr__(name):
    """Imports a name that needs TensorFlow when it is asked for."""
    if name in _ON_TENSORFLOW:
        from splitnet_tf.data import pipeline

        return getattr(pipeline, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


__all__ = [
    "Dataset",
    "Split",
    "calibration_batches",
    "check_augmentation",
    "cifar100_superclasses",
    "evaluation_batches",
    "load_arrays",
    "load_cifar10",
    "load_cifar100",
    "load_dataset",
    "load_digits",
    "load_mnist",
    "planted_groups",
    "planted_superclasses",
    "save_arrays",
    "steps_per_epoch",
    "superclass_taxonomy",
    "training_batches",
]


def load_dataset(name: str, data_dir: str | None = None, seed: int = 0) -> Dataset:
    """Loads a data set.

    Args:
      name: string, ``cifar100``, ``cifar10``, ``mnist``, ``digits``, ``planted``, ``planted-2-2``
        for two levels, or a file written by ``save_arrays``.
      data_dir: string, folder of CIFAR and MNIST. Defaults to ``~/tensorflow_datasets``.
      seed: int, seed of the planted data. Defaults to 0.

    Raises:
      DataError: the name is unknown, or the data is missing.
    """
    on_disk = {"cifar100": load_cifar100, "cifar10": load_cifar10, "mnist": load_mnist}
    if name in on_disk:
        return on_disk[name](data_dir)
    if name == "digits":
        return load_digits()
    if name.endswith(".npz"):
        return load_arrays(name)
    kind, *levels = name.split("-")
    if kind == "planted" and all(re.fullmatch("[1-9][0-9]?", n) for n in levels):
        return planted_groups([int(n) for n in levels] or (2,), seed=seed)
    raise DataError(
        f"dataset must be one of {', '.join(NAMES)}, planted-2-2, or an .npz file; got {name!r}."
    )
