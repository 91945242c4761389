"""Groupings of the classes that are given, not learned: by a taxonomy, or at random.

The paper's baselines (Table 1): semantic, clustering (``clusters``) and random.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from splitnet_tf.errors import GroupingError
from splitnet_tf.grouping.clusters import divide_classes
from splitnet_tf.grouping.grouping import Grouping
from splitnet_tf.grouping.grouping_file import FILE
from splitnet_tf.grouping.hierarchy import shares
from splitnet_tf.grouping.plan import SplitPlan

# A cut may lie so far, in parts of a group, from where equal groups would have it.
_LEEWAY = 0.25
_DEEPEST = 100


def random_classes(num_classes: int, plan: SplitPlan, seed: int = 0) -> np.ndarray:
    """Groups classes at random, in sizes that differ by at most one, or two over levels.

    Args:
      num_classes: int, classes of the model.
      plan: ``SplitPlan``; its levels give the numbers of groups.
      seed: int, seed of the groups. Defaults to 0.

    Returns:
      Labels, int (classes,), at the plan's top level.
    """
    rng = np.random.default_rng([seed, 41])

    def divide(members, weights):
        sizes = shares(len(members), weights)
        return rng.permutation(np.repeat(np.arange(len(weights)), sizes))

    return divide_classes(divide, num_classes, plan)


def taxonomy_classes(
    class_names: Sequence[str], taxonomy: dict[str, Any], plan: SplitPlan
) -> np.ndarray:
    """Groups classes along a taxonomy, as evenly as it allows.

    The classes stand in the order of the tree's leaves; a group is a run of them. It ends at the
    boundary highest in the tree among those within a quarter of a group of an equal group's end.

    Args:
      class_names: names of the data set's classes, in order.
      taxonomy: names to further trees or to lists of class names.
      plan: ``SplitPlan``; its levels give the numbers of groups.

    Returns:
      Labels, int (classes,), at the plan's top level.

    Raises:
      GroupingError: a class is not in the taxonomy, or is there twice.
    """
    paths = _leaf_paths(taxonomy)
    leaves = [path[-1] for path in paths]
    repeated = sorted({name for name in leaves if leaves.count(name) > 1})
    missing = sorted(set(class_names) - set(leaves))
    if repeated or missing:
        raise GroupingError(
            "The taxonomy must hold every class once; repeated: "
            f"{', '.join(repeated[:5]) or 'none'}, missing: {', '.join(missing[:5]) or 'none'}."
        )
    index = {name: i for i, name in enumerate(class_names)}
    paths = [path for path in paths if path[-1] in index]
    order = np.asarray([index[path[-1]] for path in paths])
    place = np.empty(len(order), int)
    place[order] = np.arange(len(order))
    # How deep the tree must be cut to part a leaf from the one before it.
    depth = np.asarray([0, *(_shared(a, b) for a, b in zip(paths, paths[1:], strict=False))])

    def divide(members, weights):
        run = np.sort(place[members])
        labels = np.empty(len(members), int)
        labels[np.argsort(place[members])] = _cut_run(depth[run], weights)
        return labels

    return divide_classes(divide, len(class_names), plan)


def _cut_run(depth: np.ndarray, weights: Sequence[int]) -> np.ndarray:
    """Part of each leaf of a run; ``depth[i]`` is the price of a cut before leaf i."""
    size, bounds = len(depth), [0]
    ideals = np.cumsum(shares(size, weights))
    for part in range(1, len(weights)):
        ideal = ideals[part - 1]
        leeway = int(_LEEWAY * size / len(weights))
        # Every part keeps a leaf for each of its groups.
        low = max(bounds[-1] + weights[part - 1], ideal - leeway)
        high = max(low, min(size - sum(weights[part:]), ideal + leeway))
        choices = range(low, high + 1)
        bounds.append(min(choices, key=lambda at: (depth[at], abs(at - ideal), at)))
    return np.searchsorted(bounds, np.arange(size), side="right") - 1


def _shared(one: tuple[str, ...], other: tuple[str, ...]) -> int:
    """Inner nodes that two leaves have in common."""
    count = 0
    for a, b in zip(one[:-1], other[:-1], strict=False):
        if a != b:
            break
        count += 1
    return count


def _leaf_paths(tree: Any, above: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    """Path to every leaf, in order."""
    if len(above) > _DEEPEST:
        raise GroupingError(f"The taxonomy is deeper than {_DEEPEST} levels.")
    if isinstance(tree, list) and all(isinstance(name, str) for name in tree):
        return [(*above, name) for name in tree]
    if isinstance(tree, dict):
        return [p for name, below in tree.items() for p in _leaf_paths(below, (*above, name))]
    where = "/".join(above) or "its top"
    raise GroupingError(
        f"The taxonomy must be names to lists of class names or to further trees; got "
        f"{str(tree)[:40]!r} at {where}."
    )


def read_classes(path: str | Path, class_names: Sequence[str], plan: SplitPlan) -> np.ndarray:
    """Reads groups of the classes from a file: a grouping, or a taxonomy as JSON.

    Args:
      path: path of the file.
      class_names: names of the data set's classes, in order.
      plan: ``SplitPlan``; its levels give the numbers of groups.

    Returns:
      Labels, int (classes,), at the plan's top level.

    Raises:
      GroupingError: the file is missing, is neither, or is of other classes or group numbers.
    """

    def read(document):
        if document.get("format") != FILE.format:
            return taxonomy_classes(class_names, document, plan)
        grouping = Grouping.from_document(document)
        classes = grouping.classes
        if grouping.class_names is not None and grouping.class_names != tuple(class_names):
            raise GroupingError(
                "its classes are not those of the data, in their order; remove its 'class_names' "
                "and 'sha256' if their indices are meant."
            )
        if (classes.size, classes.num_groups) != (len(class_names), plan.groups[-1]):
            raise GroupingError(
                f"it has {classes.num_groups} groups of {classes.size} classes, the plan "
                f"{plan.groups[-1]} of {len(class_names)}."
            )
        return classes.labels()

    return FILE.read(path, read)
