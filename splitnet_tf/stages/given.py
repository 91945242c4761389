"""Groups of the classes that are given, not learned: semantic, random, clusters, a file."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from splitnet_tf.errors import ArgumentError
from splitnet_tf.grouping import SplitLosses, SplitPlan
from splitnet_tf.grouping.clusters import cluster_classes, confusion_similarity
from splitnet_tf.grouping.given import random_classes, read_classes, taxonomy_classes
from splitnet_tf.grouping.start import FEATURES, class_kernel, weight_clusters
from splitnet_tf.grouping.wordnet import wordnet_taxonomy

NAMES = ("learned", "semantic", "clustering", "random", "wordnet")
CLUSTERS_OF = ("weights", "confusion")


@dataclasses.dataclass(frozen=True)
class GivenClasses:
    """Groups of the classes that learning does not change.

    Attributes:
      name: of the groups, kept with the grouping.
      labels: int (classes,), groups at the plan's top level; None for clusters of the network once
        the warm-up is over.
      features: ``"learned"`` around the classes, or ``"even"``.
      clusters_of: ``"weights"`` of the last kernel or ``"confusion"`` on the validation data.
      equal: bool, whether the clusters have equal sizes.

    Raises:
      ArgumentError: an unknown value.
    """

    name: str
    labels: np.ndarray | None = None
    features: str = "learned"
    clusters_of: str = "weights"
    equal: bool = True

    def __post_init__(self):
        for what, known in (("features", FEATURES), ("clusters_of", CLUSTERS_OF)):
            if getattr(self, what) not in known:
                raise ArgumentError(
                    f"`{what}` must be one of {', '.join(known)}; got {getattr(self, what)!r}."
                )

    def method(self, method: str) -> str:
        """Origin of the groups, as a grouping file says it."""
        return f"{self.name}, features {self.features}, {method}"

    def classes(
        self,
        losses: SplitLosses,
        plan: SplitPlan,
        seed: int,
        confusion: Callable[[], np.ndarray],
    ) -> np.ndarray:
        """The groups of the classes, (classes,), for a network at the end of its warm-up.

        Args:
          losses: of the grouped network.
          plan: the plan that it was grouped with.
          seed: int, seed of the clusters.
          confusion: returns its confusions, (classes, classes).
        """
        if self.labels is not None:
            return self.labels
        if self.clusters_of == "weights":
            return weight_clusters(class_kernel(losses, plan), plan, seed, self.equal)
        similarity = confusion_similarity(confusion())
        return cluster_classes(
            lambda members: similarity[np.ix_(members, members)],
            len(similarity),
            plan,
            seed,
            self.equal,
        )


def given_classes(
    name: str,
    plan: SplitPlan,
    class_names: Sequence[str],
    *,
    taxonomy: dict[str, Any] | None = None,
    seed: int = 0,
    **more,
) -> GivenClasses | None:
    """Groups of the classes by name; None where they are learned.

    Args:
      name: ``learned``, ``semantic``, ``clustering``, ``random``, ``wordnet``, or a ``.json``
        file: a grouping or a taxonomy.
      plan: gives the number of groups of each level.
      class_names: one a class.
      taxonomy: superclasses of the data, for ``semantic``.
      seed: int, seed of ``random``.
      **more: ``features``, ``clusters_of`` and ``equal`` of ``GivenClasses``.

    Raises:
      ArgumentError: an unknown name.
      GroupingError: a file that is not a grouping or taxonomy of these classes.
    """
    if name == "learned":
        return None
    if name == "clustering":
        labels = None
    elif name == "random":
        labels = random_classes(len(class_names), plan, seed)
    elif name == "semantic":
        if taxonomy is None:
            raise ArgumentError("`grouping=semantic` needs data with superclasses; they have none.")
        labels = taxonomy_classes(class_names, taxonomy, plan)
    elif name == "wordnet":
        labels = taxonomy_classes(class_names, wordnet_taxonomy(class_names), plan)
    elif name.endswith(".json"):
        labels = read_classes(name, class_names, plan)
    else:
        raise ArgumentError(
            f"`grouping` must be one of {', '.join(NAMES)} or a .json file; got {name}."
        )
    return GivenClasses(name, labels, **more)
