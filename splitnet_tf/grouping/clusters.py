"""Spectral clusters of classes, from what a trained network knows of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from sklearn.cluster import KMeans, SpectralClustering
from sklearn.manifold import spectral_embedding

from splitnet_tf.errors import GroupingError
from splitnet_tf.grouping.equal_sizes import assign_with_sizes
from splitnet_tf.grouping.hierarchy import merge_map, shares, spread
from splitnet_tf.grouping.plan import SplitPlan


def kernel_similarity(kernel: np.ndarray) -> np.ndarray:
    """Cosine similarity of a kernel's columns, (out, out); negative ones count 0.

    Args:
      kernel: (in, out).
    """
    columns = kernel - kernel.mean(axis=1, keepdims=True)
    columns = columns / np.maximum(np.linalg.norm(columns, axis=0, keepdims=True), 1e-12)
    similarity = np.maximum(columns.T @ columns, 0.0).astype("float64")
    return (similarity + similarity.T) / 2


def confusion_similarity(confusion: np.ndarray) -> np.ndarray:
    """How often two classes are taken for each other, (classes, classes), symmetric.

    Args:
      confusion: (classes, classes) counts, true class by predicted class.
    """
    rates = confusion / np.maximum(confusion.sum(axis=1, keepdims=True), 1)
    similarity = (rates + rates.T) / 2
    np.fill_diagonal(similarity, similarity.max())
    return similarity


def spectral_clusters(
    similarity: np.ndarray, num_groups: int, seed: int = 0, sizes: Sequence[int] | None = None
) -> np.ndarray:
    """Spectral clusters, of given sizes or as they come.

    With sizes the centres are those of k-means in the spectral embedding, and members are then
    dealt to them in these numbers (two equal groups: a cut at the median of the second
    eigenvector). Without, scikit-learn's ``SpectralClustering``.

    Args:
      similarity: (size, size), symmetric, 0 or more.
      num_groups: at most ``size``.
      seed: of the embedding and of k-means.
      sizes: members of each group.

    Returns:
      Labels (size,), integers in [0, num_groups).
    """
    size = len(similarity)
    if num_groups == 1:
        return np.zeros(size, int)
    if num_groups == size:
        return np.arange(size)
    similarity = np.maximum(similarity, 1e-4)  # a faint link between all: a connected graph
    if sizes is None:
        found = SpectralClustering(num_groups, affinity="precomputed", random_state=seed)
        return found.fit_predict(similarity).astype(int)
    if num_groups < size - 1:
        points = spectral_embedding(similarity, n_components=num_groups - 1, random_state=seed)
    else:  # too few members for so many eigenvectors
        points = similarity
    centres = KMeans(num_groups, n_init=10, random_state=seed).fit(points)
    distances = np.square(centres.transform(points)).T
    if len(set(sizes)) > 1:  # the larger clusters become the larger groups
        clusters = np.empty(num_groups, int)
        counts = np.bincount(centres.labels_, minlength=num_groups)
        clusters[np.argsort(-np.asarray(sizes), kind="stable")] = np.argsort(-counts, kind="stable")
        distances = distances[clusters]
    return assign_with_sizes(-distances, sizes)


def cluster_classes(
    similarity_of: Callable[[np.ndarray], np.ndarray],
    num_classes: int,
    plan: SplitPlan,
    seed: int = 0,
    equal: bool = True,
) -> np.ndarray:
    """Groups of the classes at the plan's top level: clusters within clusters, top-down.

    Args:
      similarity_of: indices of some classes to their similarity.
      num_classes: of the model.
      plan: gives the number of groups of each level.
      seed: of ``spectral_clusters``.
      equal: groups of the top level have sizes that differ by at most one, or nearly so.

    Returns:
      Labels (classes,), numbered so that they merge into the clusters of the lower levels.

    Raises:
      GroupingError: without ``equal``, a cluster has fewer classes than groups above it.
    """

    def divide(members, weights):
        sizes = shares(len(members), weights) if equal else None
        return spectral_clusters(similarity_of(members), len(weights), seed, sizes)

    return divide_classes(divide, num_classes, plan)


def divide_classes(
    divide: Callable[[np.ndarray, tuple[int, ...]], np.ndarray], num_classes: int, plan: SplitPlan
) -> np.ndarray:
    """Groups of the classes at the plan's top level, divided level by level from the bottom.

    Args:
      divide: some classes (indices), and for each of their parts the number of top-level groups in
        it, to the part of each class.
      num_classes: of the model.
      plan: gives the number of groups of each level.

    Returns:
      Labels (classes,), numbered so that they merge into the groups of the lower levels.

    Raises:
      GroupingError: a part has fewer classes than top-level groups.
    """
    top = len(plan.groups) - 1
    labels = np.zeros(num_classes, int)
    for level in range(1, top + 1):
        parents = np.asarray(spread(plan.groups[level], plan.groups[level - 1]))
        weights = np.bincount(merge_map(plan.groups, top, level), minlength=plan.groups[level])
        finer = np.zeros_like(labels)
        for parent in range(plan.groups[level - 1]):
            members = np.flatnonzero(labels == parent)
            children = np.flatnonzero(parents == parent)
            if len(members) < weights[children].sum():
                raise GroupingError(
                    f"A group of {len(members)} classes is to be divided into "
                    f"{weights[children].sum()}; ask for fewer groups or for equal ones."
                )
            finer[members] = children[divide(members, tuple(weights[children].tolist()))]
        labels = finer
    return labels
