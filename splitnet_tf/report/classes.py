"""Tree of a run with its classes, and agreement of its groups with superclasses."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from splitnet_tf.analysis import Agreement, agreement
from splitnet_tf.analysis.agreement import contingency
from splitnet_tf.analysis.class_tree import ClassNode, class_tree
from splitnet_tf.data import cifar100_superclasses, planted_superclasses
from splitnet_tf.data.by_name import superclass_file
from splitnet_tf.data.folder import SUPERCLASSES, holds_pictures, read_superclasses
from splitnet_tf.errors import DataError
from splitnet_tf.grouping import Grouping
from splitnet_tf.grouping.hierarchy import merge_map
from splitnet_tf.report.runs import Run
from splitnet_tf.runs import base_places


@dataclasses.dataclass(frozen=True)
class Superclasses:
    """Superclasses of a run's classes.

    Attributes:
      names: names of the superclasses.
      labels: int (classes,), superclass of each class.
    """

    names: tuple[str, ...]
    labels: np.ndarray


def superclasses_of(run: Run) -> Superclasses | None:
    """Finds the superclasses of a run's classes by their names or beside its data, or None."""
    grouping, dataset = run.grouping, str(run.setting("dataset"))
    if grouping is None or grouping.class_names is None:
        return None
    try:
        if dataset == "cifar100":
            return Superclasses(*cifar100_superclasses(grouping.class_names))
        if dataset.startswith("planted"):
            groups = grouping.classes.num_groups
            return Superclasses(*planted_superclasses(grouping.class_names, groups))
        for file in _files(run, dataset):
            labels, names = read_superclasses(file, grouping.class_names)
            if labels is not None:
                return Superclasses(names, labels)
    except DataError:  # the names are of other classes than those of the data set
        return None
    return None


def _files(run: Run, dataset: str) -> Iterator[Path]:
    """Places of a file of superclasses; either the run or its data may have been moved."""
    for place in base_places(run.path, Path(dataset)):
        if holds_pictures(place):
            yield place / SUPERCLASSES
    yield superclass_file(dataset, run.setting("data_dir"))


def levels(grouping: Grouping) -> tuple[int, ...]:
    """Returns the number of groups of each level of the tree, from the trunk (1) up."""
    return (1, *dict.fromkeys(groups for _, groups in grouping.sections if groups > 1))


def labels_by_level(grouping: Grouping) -> list[np.ndarray]:
    """Returns the group of each class, int (classes,), at each level above the trunk.

    Where the sections have another number of groups than the classes, only the classes' own level.
    """
    groups, labels = levels(grouping), grouping.classes.labels()
    fit = groups[-1] == grouping.classes.num_groups and list(groups) == sorted(groups)
    if not fit or len(groups) == 1:
        return [labels]
    top = len(groups) - 1
    return [np.array(merge_map(groups, top, level))[labels] for level in range(1, top + 1)]


def tree_of(grouping: Grouping) -> ClassNode:
    """Builds the tree of a grouping's classes with the levels of ``labels_by_level``."""
    by_level = labels_by_level(grouping)
    return class_tree(by_level[-1], (1, *(int(labels.max()) + 1 for labels in by_level)))


def named_classes(
    grouping: Grouping, classes: Sequence[int], superclasses: Superclasses | None
) -> tuple[tuple[str | None, tuple[str, ...]], ...]:
    """Names classes by superclass, the superclass with most of them first.

    Args:
      grouping: gives the names.
      classes: numbers of the classes.
      superclasses: superclasses of all classes; None for one entry without a superclass.
    """
    names = grouping.class_names or [str(i) for i in range(grouping.classes.size)]
    if superclasses is None:
        return ((None, tuple(names[c] for c in classes)),) if classes else ()
    found: dict[int, list[str]] = {}
    for c in classes:
        found.setdefault(int(superclasses.labels[c]), []).append(names[c])
    order = sorted(found, key=lambda s: (-len(found[s]), s))
    return tuple((superclasses.names[s], tuple(found[s])) for s in order)


@dataclasses.dataclass(frozen=True)
class Agreed:
    """Agreement of a run's groups with superclasses.

    Attributes:
      scores: scores of the groups, and of random groups.
      names: names of the superclasses, those of one group together.
      learned, random: int (superclasses, groups), classes of each superclass in each group; random
        is one random grouping of the same sizes.
    """

    scores: Agreement
    names: tuple[str, ...]
    learned: np.ndarray
    random: np.ndarray


def agree(grouping: Grouping, superclasses: Superclasses) -> Agreed:
    """Compares the groups of the classes with superclasses."""
    labels = grouping.classes.labels()
    learned = contingency(labels, superclasses.labels)
    shuffled = np.random.default_rng(0).permutation(labels)
    random = contingency(shuffled, superclasses.labels)
    names = superclasses.names[: len(learned)]
    # By the group that most of a superclass is in, the purest first.
    share = learned.max(axis=1) / np.maximum(learned.sum(axis=1), 1)
    order = np.lexsort((-share, learned.argmax(axis=1)))
    return Agreed(
        agreement(labels, superclasses.labels),
        tuple(names[i] for i in order),
        learned[order],
        random[order],
    )
