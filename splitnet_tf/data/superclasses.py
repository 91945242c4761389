"""Superclasses of classes, from their names alone or from a data set."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from importlib import resources

import numpy as np

from splitnet_tf.data.dataset import Dataset
from splitnet_tf.errors import DataError

_FILE = "cifar100_superclasses.json"
_PLANTED = re.compile(r"group(\d+(?:\.\d+)*)-\d+")


def cifar100_superclasses(class_names: Sequence[str]) -> tuple[tuple[str, ...], np.ndarray]:
    """Looks up the 20 superclasses of CIFAR-100 (Krizhevsky, 2009).

    Args:
      class_names: names of classes as tensorflow-datasets has them, in any order.

    Returns:
      The names of the superclasses, and labels (classes,): the superclass of each class.

    Raises:
      DataError: a name is not that of a class of CIFAR-100.
    """
    text = resources.files(__package__).joinpath(_FILE).read_text(encoding="utf-8")
    table = json.loads(text)["superclasses"]
    number = {name: i for i, names in enumerate(table.values()) for name in names}
    unknown = [str(name)[:40] for name in class_names if name not in number]
    if unknown:
        raise DataError(f"'{unknown[0]}' is none of the classes of CIFAR-100.")
    return tuple(table), np.array([number[name] for name in class_names], int)


def planted_superclasses(
    class_names: Sequence[str], num_groups: int
) -> tuple[tuple[str, ...], np.ndarray]:
    """Reads the groups in which classes of ``planted_groups`` were planted from their names.

    Args:
      class_names: names given by ``planted_groups``: ``group1.0-3`` is in group 1, subgroup 0.
      num_groups: int, the level of groups with the nearest number of groups is taken.

    Returns:
      The names of the planted groups, and labels (classes,): the planted group of each class.

    Raises:
      DataError: a name is not that of a planted class, or the names differ in their levels.
    """
    paths = []
    for name in class_names:
        match = _PLANTED.fullmatch(name)
        paths.append(match[1].split(".") if match else [])
        if not match or len(paths[-1]) != len(paths[0]):
            raise DataError(f"'{name[:40]}' is none of the classes of planted data.")
    levels = [[".".join(path[: depth + 1]) for path in paths] for depth in range(len(paths[0]))]
    nearest = min(levels, key=lambda level: abs(len(set(level)) - num_groups))
    names = sorted(set(nearest), key=lambda name: [int(n) for n in name.split(".")])
    return tuple(f"group{n}" for n in names), np.array([names.index(n) for n in nearest], int)


def superclass_taxonomy(dataset: Dataset) -> dict[str, list[str]]:
    """Returns a data set's superclasses as a taxonomy: superclass -> its classes.

    Raises:
      DataError: the data set has none.
    """
    if dataset.superclasses is None:
        raise DataError(
            f"Data set '{dataset.name}' has no superclasses for semantic groups; give a taxonomy "
            "as `grouping=<file>.json`."
        )
    found: dict[str, list[str]] = {name: [] for name in dataset.superclass_names}
    for name, superclass in zip(dataset.class_names, dataset.superclasses, strict=True):
        found[dataset.superclass_names[superclass]].append(name)
    return found
