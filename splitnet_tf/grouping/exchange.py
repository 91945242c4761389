"""Exchange of channels and classes between groups, one space at a time, so that R_W falls."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import keras
import numpy as np

from splitnet_tf.graph.kernels import kernel_energy
from splitnet_tf.grouping.assignment import Assignment
from splitnet_tf.grouping.equal_sizes import assign_with_sizes
from splitnet_tf.grouping.hierarchy import even_sizes
from splitnet_tf.grouping.regularizers import group_weight

ROUNDS = 50  # over all spaces; few are needed


def exchange_groups(
    layers: Sequence, labels: Mapping[int, np.ndarray], scaling: str = "unit"
) -> dict[int, np.ndarray]:
    """Moves members of each space to where they send and receive most energy.

    One space after the other gets the best groups of equal size given the groups of all others,
    until none changes. A change that would not lower R_W, the mean over layers, is not made.

    Args:
      layers: grouped layers, from the bottom up.
      labels: int (size,), group of each member of every space, by ``id`` of its ``Assignment``.
      scaling: of R_W, see ``group_weight``.

    Returns:
      The new labels, by the same keys.
    """
    found = {key: np.array(own) for key, own in labels.items()}
    spaces = {id(a): a for x in layers for a in (*x.in_assignments, *x.out_assignments)}
    least = hard_group_weight(layers, found, scaling)
    for _ in range(ROUNDS):
        changed = False
        for key, space in reversed(spaces.items()):
            energy = energy_shared(space, layers, found)
            moved = assign_with_sizes(energy.T, even_sizes(*energy.shape))
            tried = hard_group_weight(layers, {**found, key: moved}, scaling)
            if tried < least * (1 - 1e-6):
                found[key], least, changed = moved, tried, True
        if not changed:
            break
    return found


def hard_group_weight(
    layers: Sequence, labels: Mapping[int, np.ndarray], scaling: str = "unit"
) -> float:
    """Computes R_W, the mean over layers, where every channel is wholly in its group.

    Args:
      layers, labels, scaling: see ``exchange_groups``.
    """
    values = []
    for layer in layers:
        sides = (layer.in_groups(labels), layer.out_groups(labels))
        p, q = (np.eye(layer.num_groups, dtype="float32")[side].T for side in sides)
        kernel = keras.ops.convert_to_tensor(layer.matrix())
        values.append(
            float(group_weight(kernel, *map(keras.ops.convert_to_tensor, (p, q)), scaling))
        )
    return float(np.mean(values))


def energy_shared(
    space: Assignment,
    layers: Sequence,
    labels: Mapping[int, np.ndarray],
    sides: Sequence[str] = ("in", "out"),
) -> np.ndarray:
    """Computes the squared weights between members of a space and each group of known spaces.

    Each layer counts alike, whatever its size.

    Args:
      space: the space.
      layers: grouped layers; those of which the other side is not known are left out.
      labels: see ``exchange_groups``; spaces that are not in it are not known.
      sides: ``"in"`` for energy that is sent upwards, ``"out"`` for energy that is received.

    Returns:
      Float (size, G), above 0.
    """
    total = np.full((space.size, space.num_groups), 1e-12)
    for layer in layers:
        for side in sides:
            total += _of_layer(space, layer, side, labels)
    return total


def _of_layer(space: Assignment, layer, side: str, labels: Mapping[int, np.ndarray]):
    """The energy that one layer sends from a space or to it, (size, G); 0 where it is not known."""
    other, groups_of = ("out", layer.out_groups) if side == "in" else ("in", layer.in_groups)
    own, others = (getattr(layer, f"{name}_assignments") for name in (side, other))
    known = all(id(a) in labels for a in others)
    if not known or all(a is not space for a in own):
        return 0.0
    energy = kernel_energy(layer.matrix())
    energy = energy if side == "in" else energy.T
    shared = energy @ np.eye(layer.num_groups)[groups_of(labels)]  # (channels, G of the layer)
    which = next(i for i, a in enumerate(own) if a is space)
    # A layer of fewer groups says nothing of the finer ones: its energy is spread evenly.
    merge = np.asarray(getattr(layer, f"{side}_merges")[which])
    finer = np.eye(layer.num_groups)[merge] / np.bincount(merge)[merge][:, None]
    shared = shared @ finer.T
    start, total = 0, np.zeros((space.size, space.num_groups))
    layout, widths = (getattr(layer, f"{side}_{name}") for name in ("layout", "widths"))
    for i, width in zip(layout, widths, strict=True):
        size = own[i].size
        if i == which:
            mine = shared[start : start + size * width].reshape(size, width, -1).sum(axis=1)
            total += mine / max(shared.sum(), 1e-30)
        start += size * width
    return total
