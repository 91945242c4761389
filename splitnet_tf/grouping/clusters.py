"""Spectral clusters of classes, from the weights or the confusions of a trained network."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from scipy.sparse.linalg import LinearOperator, eigsh
from sklearn.cluster import KMeans, SpectralClustering
from sklearn.manifold import spectral_embedding

from splitnet_tf.errors import GroupingError
from splitnet_tf.grouping.equal_sizes import assign_with_sizes
from splitnet_tf.grouping.hierarchy import merge_map, shares, spread
from splitnet_tf.grouping.plan import SplitPlan

FAINT = 1e-4  # a faint link between all: a connected graph
MANY = 3000  # members whose dense eigenproblem takes long
BLOCK = 500


def kernel_similarity(kernel: np.ndarray) -> np.ndarray:
    """Computes the cosine similarity of a kernel's columns, (out, out), negative values as 0.

    Args:
      kernel: array (in, out).
    """
    columns = kernel - kernel.mean(axis=1, keepdims=True)
    columns = columns / np.maximum(np.linalg.norm(columns, axis=0, keepdims=True), 1e-12)
    similarity = columns.T @ columns  # symmetric, as BLAS computes one half
    return np.maximum(similarity, 0.0, out=similarity)


def confusion_similarity(confusion: np.ndarray) -> np.ndarray:
    """Computes the rate at which two classes are confused, (classes, classes), symmetric.

    Args:
      confusion: int (classes, classes), counts by true and predicted class.
    """
    rates = confusion / np.maximum(confusion.sum(axis=1, keepdims=True), 1)
    similarity = (rates + rates.T) / 2
    np.fill_diagonal(similarity, similarity.max())
    return similarity


def spectral_clusters(
    similarity: np.ndarray,
    num_groups: int,
    seed: int = 0,
    sizes: Sequence[int] | None = None,
    overwrite: bool = False,
) -> np.ndarray:
    """Finds spectral clusters, of given sizes or as they come.

    With sizes the centres are those of k-means in the spectral embedding, and members are then
    dealt to them in these numbers (two equal groups: a cut at the median of the second
    eigenvector). Without, scikit-learn's ``SpectralClustering``. More than ``MANY`` members: the
    same eigenvectors by products with the matrix alone, 4 bytes for each pair of members.

    Args:
      similarity: float (size, size), symmetric, 0 or more.
      num_groups: int, number of clusters, at most ``size``.
      seed: int, seed of the embedding and of k-means. Defaults to 0.
      sizes: members of each group. Defaults to None, sizes as they come.
      overwrite: bool, whether ``similarity`` may be changed, which saves a copy.

    Returns:
      Labels, int (size,), from 0 to ``num_groups`` - 1.
    """
    size = len(similarity)
    if num_groups == 1:
        return np.zeros(size, int)
    if num_groups == size:
        return np.arange(size)
    if size > MANY and num_groups < MANY:
        if not overwrite:
            similarity = similarity.copy()
        points = _embedding(np.maximum(similarity, FAINT, out=similarity), num_groups - 1, seed)
        if sizes is None:
            return KMeans(num_groups, n_init=10, random_state=seed).fit_predict(points).astype(int)
    else:
        similarity = np.maximum(similarity.astype("float64"), FAINT)
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


def _embedding(similarity: np.ndarray, count: int, seed: int) -> np.ndarray:
    """Eigenvectors that ``spectral_embedding`` finds, without a second matrix, (size, count).

    Those of the largest eigenvalues of D^-1/2 W D^-1/2 but the first, which is constant, times
    D^-1/2. W is ``similarity`` without its diagonal, which is changed in place.
    """
    np.fill_diagonal(similarity, 0)
    root = 1.0 / np.sqrt(similarity.sum(axis=1, dtype="float64"))
    product = LinearOperator(
        similarity.shape,
        matvec=lambda v: root * (similarity @ (root * v.ravel()).astype(similarity.dtype)),
        dtype="float64",
    )
    start = np.random.default_rng(seed).uniform(-1, 1, len(root))
    _, vectors = eigsh(product, count + 1, which="LA", v0=start, tol=1e-5)
    return root[:, None] * vectors[:, -2::-1]


def cluster_classes(
    similarity_of: Callable[[np.ndarray], np.ndarray],
    num_classes: int,
    plan: SplitPlan,
    seed: int = 0,
    equal: bool = True,
) -> np.ndarray:
    """Groups the classes at the plan's top level: clusters within clusters, top-down.

    Args:
      similarity_of: indices of some classes -> their similarity, see ``spectral_clusters``; a new
        array each time, which is overwritten.
      num_classes: int, classes of the model.
      plan: ``SplitPlan``; its levels give the numbers of groups.
      seed: int, seed of ``spectral_clusters``. Defaults to 0.
      equal: bool, whether sizes of the top level's groups differ by at most one, or nearly so.
        Defaults to True.

    Returns:
      Labels, int (classes,), numbered so that they merge into the clusters of the lower levels.

    Raises:
      GroupingError: without ``equal``, a cluster has fewer classes than groups above it.
    """

    def divide(members, weights):
        sizes = shares(len(members), weights) if equal else None
        similarity = similarity_of(members)
        return spectral_clusters(similarity, len(weights), seed, sizes, overwrite=True)

    return divide_classes(divide, num_classes, plan)


def divide_classes(
    divide: Callable[[np.ndarray, tuple[int, ...]], np.ndarray], num_classes: int, plan: SplitPlan
) -> np.ndarray:
    """Groups the classes at the plan's top level, divided level by level from the bottom.

    Args:
      divide: (indices of some classes, number of top-level groups in each of their parts) -> the
        part of each class.
      num_classes: int, classes of the model.
      plan: ``SplitPlan``; its levels give the numbers of groups.

    Returns:
      Labels, int (classes,), numbered so that they merge into the groups of the lower levels.

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
