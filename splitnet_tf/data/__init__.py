"""Data sets by name, folders of pictures, arrays, planted groups, and input pipelines."""

from __future__ import annotations

import dataclasses
import itertools
import re
from pathlib import Path

from splitnet_tf.data.arrays import load_arrays, save_arrays
from splitnet_tf.data.by_name import load_by_name
from splitnet_tf.data.cifar100 import load_cifar100
from splitnet_tf.data.dataset import NAMES, Dataset, Split
from splitnet_tf.data.digits import load_digits
from splitnet_tf.data.folder import load_folder
from splitnet_tf.data.pictures import Pictures
from splitnet_tf.data.planted import planted_groups
from splitnet_tf.data.superclasses import (
    cifar100_superclasses,
    planted_superclasses,
    superclass_taxonomy,
)
from splitnet_tf.data.ten_classes import load_cifar10, load_mnist
from splitnet_tf.errors import ArgumentError, DataError

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
    "Pictures",
    "Split",
    "calibration_batches",
    "check_augmentation",
    "cifar100_superclasses",
    "evaluation_batches",
    "is_folder",
    "load_arrays",
    "load_by_name",
    "load_cifar10",
    "load_cifar100",
    "load_dataset",
    "load_digits",
    "load_folder",
    "load_mnist",
    "planted_groups",
    "planted_superclasses",
    "save_arrays",
    "steps_per_epoch",
    "superclass_taxonomy",
    "training_batches",
]


def load_dataset(
    name: str,
    data_dir: str | None = None,
    seed: int = 0,
    *,
    image_size: int | None = None,
    validation_share: float | None = None,
) -> Dataset:
    """Loads a data set.

    Args:
      name: string, ``cifar100``, ``cifar10``, ``mnist``, ``digits``, ``planted``, ``planted-2-2``
        for two levels; any image classification set of tensorflow-datasets by its name, such as
        ``imagenet2012`` or ``name/config:version``; a folder of pictures, see ``load_folder``; or
        a file written by ``save_arrays``.
      data_dir: string, folder of tensorflow-datasets. Defaults to ``~/tensorflow_datasets``.
      seed: int, seed of the planted data. Defaults to 0.
      image_size: int, height and width of the images of a folder or of tensorflow-datasets.
        Defaults to their own where all have one size, else to 224.
      validation_share: float, share of the training examples that is held out where a folder or
        a set of tensorflow-datasets lacks a split. Defaults to 0.1.

    Raises:
      DataError: the name is unknown, or the data is missing or damaged.
      ArgumentError: an argument that the data do not take.
    """
    how = {"image_size": image_size, "validation_share": validation_share}
    on_disk = {"cifar100": load_cifar100, "cifar10": load_cifar10, "mnist": load_mnist}
    if name in on_disk:
        return on_disk[name](data_dir) if how == OWN else _changed(name, data_dir, how)
    planted = re.fullmatch(PLANTED, name)
    if name == "digits" or name.endswith(".npz") or planted:
        for argument, value in how.items():
            if value is not None:
                raise ArgumentError(
                    f"`{argument}={value:g}` has no effect on `dataset={name}`, whose images and "
                    "splits are as they are; leave it out."
                )
    if name == "digits":
        return load_digits()
    if name.endswith(".npz"):
        return load_arrays(name)
    if planted:
        return planted_groups([int(n) for n in name.split("-")[1:]] or (2,), seed=seed)
    if is_folder(name):
        return load_folder(name, **how)
    if Path(name).is_dir():
        raise DataError(
            f"`dataset={name}` is a folder of tensorflow-datasets; give the name of the data set, "
            "and the folder above it as `data_dir`."
        )
    if not re.fullmatch(TFDS_NAME, name):
        raise DataError(
            f"dataset must be one of {', '.join(NAMES)}, planted-2-2, a name of "
            "tensorflow-datasets, a folder of pictures that is there, or an .npz file; got "
            f"{name!r}."
        )
    return load_by_name(name, data_dir, **how)


PLANTED = "planted(-[1-9][0-9]?)*"
OWN = {"image_size": None, "validation_share": None}
TFDS_NAME = r"[a-z][a-z0-9_]*(/[\w.\-]+)?(:[\w.*]+)?"


def _changed(name: str, data_dir: str | None, how: dict) -> Dataset:
    """CIFAR or MNIST of another size or share; CIFAR-100 keeps its superclasses."""
    found = load_by_name(name, data_dir, **how)
    if name != "cifar100":
        return found
    names, labels = cifar100_superclasses(found.class_names)
    return dataclasses.replace(found, superclasses=labels, superclass_names=names)


def is_folder(name: str) -> bool:
    """True for the path of a folder of pictures, which is not one of tensorflow-datasets."""
    path = Path(name)
    if not path.is_dir():
        return False
    try:
        below = [entry for entry in path.iterdir() if entry.is_dir()]
        # Not all of a folder of pictures, which may be many.
        deeper = [entry for folder in below for entry in itertools.islice(folder.iterdir(), 10)]
        return not any((place / "dataset_info.json").is_file() for place in (path, *below, *deeper))
    except OSError:  # loading it says why
        return True
