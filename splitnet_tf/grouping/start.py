"""Starts the assignments from what a trained network already knows.

The uniform assignment is a saddle of the split losses, left in whatever direction the noise
points. A network trained without them already tells which classes look alike (the columns of
its last kernel) and which features serve which classes (the energy they send upwards). These
functions turn that into a start; training goes on from there.
"""

from __future__ import annotations

import keras
import numpy as np
from sklearn.cluster import KMeans
from sklearn.manifold import spectral_embedding

from splitnet_tf.errors import GroupingError
from splitnet_tf.graph.hierarchy import even_sizes, spread
from splitnet_tf.graph.plan import SplitPlan
from splitnet_tf.grouping.equal_sizes import assign_with_sizes
from splitnet_tf.grouping.split_losses import SplitLosses


def cluster_columns(kernel: np.ndarray, num_groups: int, seed: int = 0) -> np.ndarray:
    """Equal spectral clusters of a kernel's columns by cosine similarity (negative ones count 0).

    The centres are those of k-means in the spectral embedding; columns are then dealt to them in
    equal numbers (two groups: a cut at the median of the second eigenvector). Equal, because R_E
    pulls towards equal groups anyway, and unequal starts lose their meaning on the way.

    Args:
      kernel: (in, out).
      num_groups: clusters of the out columns, at most out.
      seed: of the embedding and of k-means.

    Returns:
      Labels (out,), integers in [0, num_groups), of sizes that differ by at most one.
    """
    size = kernel.shape[1]
    if num_groups == 1:
        return np.zeros(size, int)
    if num_groups >= size - 1:
        return np.repeat(np.arange(num_groups), even_sizes(size, num_groups))
    columns = kernel - kernel.mean(axis=1, keepdims=True)
    columns = columns / np.maximum(np.linalg.norm(columns, axis=0, keepdims=True), 1e-12)
    similarity = np.maximum(columns.T @ columns, 0.0).astype("float64")
    # A faint link between all keeps the graph connected.
    similarity = np.maximum((similarity + similarity.T) / 2, 1e-4)
    points = spectral_embedding(similarity, n_components=num_groups - 1, random_state=seed)
    centres = KMeans(num_groups, n_init=10, random_state=seed).fit(points)
    return assign_with_sizes(-np.square(centres.transform(points)).T, even_sizes(size, num_groups))


def cluster_classes(kernel: np.ndarray, plan: SplitPlan, seed: int = 0) -> np.ndarray:
    """Groups of the classes at the plan's top level: clusters within clusters, top-down.

    Args:
      kernel: (in, classes) of the last layer.
      plan: gives the number of groups of each level.

    Returns:
      Labels (classes,), numbered so that they merge into the clusters of the lower levels.
    """
    top = len(plan.groups) - 1
    labels = np.zeros(kernel.shape[1], int)
    for level in range(1, top + 1):
        parents = np.asarray(spread(plan.groups[level], plan.groups[level - 1]))
        finer = np.zeros_like(labels)
        for parent in range(plan.groups[level - 1]):
            members = np.flatnonzero(labels == parent)
            children = np.flatnonzero(parents == parent)
            if len(members) < len(children):
                # Too few classes for the groups: deal all classes out evenly instead.
                sizes = even_sizes(kernel.shape[1], plan.groups[top])
                return np.repeat(np.arange(plan.groups[top]), sizes)
            finer[members] = children[cluster_columns(kernel[:, members], len(children), seed)]
        labels = finer
    return labels


def served_groups(energy: np.ndarray) -> np.ndarray:
    """Equal groups of features by the energy that each sends to every group above.

    Args:
      energy: (features, groups), non-negative.

    Returns:
      Labels (features,), of sizes that differ by at most one.
    """
    share = energy / np.maximum(energy.sum(axis=1, keepdims=True), 1e-30)
    return assign_with_sizes(share.T, even_sizes(*energy.shape))


def start_from_clusters(
    losses: SplitLosses,
    plan: SplitPlan,
    class_labels: np.ndarray | None = None,
    *,
    largest_p: float = 0.9,
    seed: int = 0,
) -> dict[str, np.ndarray]:
    """Starts every assignment variable from the weights of a grouped, trained model.

    Classes start from ``cluster_classes`` (or from ``class_labels``), the features of each space
    below, top-down, from the groups they serve.

    Args:
      losses: the grouped model's ``SplitLosses``.
      plan: the plan that the model was grouped with.
      class_labels: (classes,) top-level groups to start from instead of clusters.
      largest_p: p of each channel's own group at the start.
      seed: of the clustering.

    Returns:
      The labels given to each space, by name.

    Raises:
      GroupingError: the class space belongs to no split kernel.
    """
    layers = losses.grouped_layers()
    last = layers[-1]
    labels: dict[int, np.ndarray] = {}
    kernel = np.asarray(keras.ops.convert_to_numpy(last.kernel))
    kernel = kernel.reshape(-1, kernel.shape[-1])
    if len(last.out_layout) != 1:
        raise GroupingError(
            f"Layer '{last.name}' makes several spaces; start the assignments at random instead."
        )
    top = last.out_assignments[0]
    if class_labels is None:
        class_labels = cluster_classes(kernel, plan, seed)
    labels[id(top)] = np.asarray(class_labels)
    groups_of = {id(a): a for a in losses.assignments()}
    for layer in reversed(layers):
        for assignment in layer.in_assignments:
            if id(assignment) not in labels:
                energy = _energy_sent(assignment, layers, labels)
                labels[id(assignment)] = served_groups(energy)
    for layer in layers:  # made, but read by no split kernel
        for assignment in layer.out_assignments:
            if id(assignment) not in labels:
                sizes = even_sizes(assignment.size, assignment.num_groups)
                labels[id(assignment)] = np.repeat(np.arange(assignment.num_groups), sizes)
    for key, space_labels in labels.items():
        groups_of[key].assign(space_labels, largest_p)
    return {groups_of[key].name: space_labels for key, space_labels in labels.items()}


def _energy_sent(assignment, layers, labels) -> np.ndarray:
    """(size, G): squared weights from each channel to each group of the known spaces above."""
    total = np.full((assignment.size, assignment.num_groups), 1e-12)
    for layer in layers:
        known = all(id(a) in labels for a in layer.out_assignments)
        if not known or all(a is not assignment for a in layer.in_assignments):
            continue
        kernel = np.asarray(keras.ops.convert_to_numpy(layer.kernel))
        squares = np.square(kernel).sum(axis=tuple(range(kernel.ndim - 2)))
        membership = np.concatenate(
            [
                np.eye(layer.num_groups)[np.asarray(layer.out_merges[i])[labels[id(a)]]]
                for i, a in ((i, layer.out_assignments[i]) for i in layer.out_layout)
            ]
        )
        sent = squares @ membership  # (in, G of the layer)
        which = next(i for i, a in enumerate(layer.in_assignments) if a is assignment)
        # A layer of fewer groups says nothing of the finer ones: its energy is spread evenly.
        merge = np.asarray(layer.in_merges[which])
        finer = np.eye(layer.num_groups)[merge] / np.bincount(merge)[merge][:, None]
        sent = sent @ finer.T
        start = 0
        for i in layer.in_layout:
            size = layer.in_assignments[i].size
            if i == which:
                total += sent[start : start + size] / max(sent.sum(), 1e-30)
            start += size
    return total
