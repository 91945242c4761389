"""Starts the assignments from what a trained network already knows.

The uniform assignment is a saddle of the split losses, left in whatever direction the noise
points. A network trained without them already tells which classes look alike (the columns of
its last kernel) and which features serve which classes (the energy they send upwards). These
functions turn that into a start; training goes on from there.
"""

from __future__ import annotations

import keras
import numpy as np

from splitnet_tf.errors import GroupingError
from splitnet_tf.grouping.assignment import Assignment
from splitnet_tf.grouping.clusters import cluster_classes, kernel_similarity
from splitnet_tf.grouping.equal_sizes import assign_with_sizes
from splitnet_tf.grouping.exchange import energy_shared, exchange_groups
from splitnet_tf.grouping.group_model import plan_of, split_losses
from splitnet_tf.grouping.hierarchy import even_labels, even_sizes
from splitnet_tf.grouping.plan import SplitPlan
from splitnet_tf.grouping.split_losses import SplitLosses

FEATURES = ("learned", "even")
FIRM = 1.0 - 1e-6


def served_groups(energy: np.ndarray) -> np.ndarray:
    """Groups features into equal groups by the energy that each sends to every group above.

    Args:
      energy: float (features, groups), 0 or more.

    Returns:
      Labels, int (features,), in groups of sizes that differ by at most one.
    """
    share = energy / np.maximum(energy.sum(axis=1, keepdims=True), 1e-30)
    return assign_with_sizes(share.T, even_sizes(*energy.shape))


def start_from_clusters(
    grouped: keras.Model | SplitLosses,
    plan: SplitPlan | None = None,
    class_labels: np.ndarray | None = None,
    *,
    largest_p: float = 0.9,
    seed: int = 0,
    exchange: bool = False,
) -> dict[str, np.ndarray]:
    """Starts every assignment variable from the weights of a grouped, trained model.

    Classes start from ``cluster_classes`` (or from ``class_labels``), the features of each space
    below, top-down, from the groups that they serve.

    Args:
      grouped: grouped ``keras.Model``; or its ``SplitLosses``, then with ``plan``.
      plan: ``SplitPlan`` that it was grouped with. Defaults to ``plan_of(grouped)``.
      class_labels: int (classes,), top-level groups to start from instead of clusters.
      largest_p: float, p of each channel's own group at the start, above 1 / groups and below 1.
        Defaults to 0.9.
      seed: int, seed of the clustering. Defaults to 0.
      exchange: bool, whether classes and features are then exchanged between the groups, see
        ``exchange_groups``. Defaults to False.

    Returns:
      Labels given to each space, by the name of its ``Assignment``.

    Raises:
      GroupingError: the class space belongs to no split kernel, or labels or a ``largest_p`` that
        it cannot have.

    >>> net = sn.models.mlp((8,), num_classes=4, input_shape=(6,))
    >>> grouped = sn.group_model(net, [("logits", 2)])
    >>> labels = sn.start_from_clusters(grouped)
    >>> np.bincount(labels["space_logits"]).tolist()
    [2, 2]
    """
    losses = grouped if isinstance(grouped, SplitLosses) else split_losses(grouped)
    plan = plan or plan_of(grouped)
    layers = losses.grouped_layers()
    labels: dict[int, np.ndarray] = {}
    top = class_assignment(losses, plan)
    if class_labels is None:
        class_labels = weight_clusters(class_kernel(losses, plan), plan, seed)
    labels[id(top)] = top.checked(class_labels)
    groups_of = {id(a): a for a in losses.assignments()}
    for layer in reversed(layers):
        for assignment in layer.in_assignments:
            if id(assignment) not in labels:
                energy = energy_shared(assignment, layers, labels, ("in",))
                labels[id(assignment)] = served_groups(energy)
    for layer in layers:  # made, but read by no split kernel
        for assignment in layer.out_assignments:
            if id(assignment) not in labels:
                labels[id(assignment)] = even_labels(assignment.size, assignment.num_groups)
    if exchange:
        labels = exchange_groups(layers, labels, losses.scaling)
    for key, space_labels in labels.items():
        groups_of[key].assign(space_labels, largest_p)
    return {groups_of[key].name: space_labels for key, space_labels in labels.items()}


def weight_clusters(
    kernel: np.ndarray, plan: SplitPlan, seed: int = 0, equal: bool = True
) -> np.ndarray:
    """Clusters the classes by their columns of a kernel.

    Args:
      kernel: float (inputs, classes).
      plan, seed, equal: see ``cluster_classes``.
    """
    return cluster_classes(
        lambda members: kernel_similarity(kernel[:, members]),
        kernel.shape[1],
        plan,
        seed,
        equal,
    )


def start_from_given(
    losses: SplitLosses, plan: SplitPlan, class_labels: np.ndarray, features: str
) -> None:
    """Sets the groups of the classes for good, and starts those of the features.

    The variables that ``given_assignments`` names must not be trained then.

    Args:
      losses: ``SplitLosses`` of the grouped model.
      plan: ``SplitPlan`` that the model was grouped with.
      class_labels: int (classes,), groups at the plan's top level.
      features: ``"learned"``, from the groups of classes that they serve; or ``"even"``, runs of
        equal length, set for good as well.
    """
    start_from_clusters(losses, plan, class_labels)
    for assignment in given_assignments(losses, plan, features):
        labels = class_labels
        if assignment is not class_assignment(losses, plan):
            labels = even_labels(assignment.size, assignment.num_groups)
        assignment.assign(labels, FIRM)


def given_assignments(losses: SplitLosses, plan: SplitPlan, features: str) -> tuple:
    """Finds the assignments that are given, not learned: the classes', or all for even features."""
    if features not in FEATURES:
        raise GroupingError(f"`features` must be one of {', '.join(FEATURES)}; got {features!r}.")
    return losses.assignments() if features == "even" else (class_assignment(losses, plan),)


def class_assignment(losses: SplitLosses, plan: SplitPlan) -> Assignment:
    """Finds the assignment of the classes, the model's first output.

    Raises:
      GroupingError: no split kernel makes the classes.
    """
    return _class_layer(losses, plan).out_assignments[0]


def class_kernel(losses: SplitLosses, plan: SplitPlan) -> np.ndarray:
    """Returns the kernel that makes the classes as an array (inputs, classes).

    Raises:
      GroupingError: no split kernel makes the classes.
    """
    kernel = keras.ops.convert_to_numpy(_class_layer(losses, plan).matrix())
    return kernel.reshape(-1, kernel.shape[-1])


def _class_layer(losses: SplitLosses, plan: SplitPlan):
    """The last of the layers that make the classes and nothing else."""
    space = plan.classes.name
    layers = {layer.name: layer for layer in losses.grouped_layers()}
    made = [layers[k.name] for k in plan.kernels if k.out_spaces == (space,)]
    if not made:
        raise GroupingError(
            f"No split kernel makes the classes ('{space}') alone; start the assignments at random "
            "instead."
        )
    return made[-1]
