"""Hard assignment: from soft memberships to a grouping."""

from __future__ import annotations

from collections.abc import Sequence

import keras
import numpy as np

from splitnet_tf.errors import GroupingError
from splitnet_tf.grouping.blocks import off_block_energy, tell_energy
from splitnet_tf.grouping.equal_sizes import assign_with_sizes
from splitnet_tf.grouping.group_model import plan_of, split_losses
from splitnet_tf.grouping.grouping import Grouping
from splitnet_tf.grouping.hierarchy import even_labels, even_sizes
from splitnet_tf.grouping.plan import SplitPlan
from splitnet_tf.grouping.space_groups import SpaceGroups
from splitnet_tf.grouping.split_losses import SplitLosses

METHODS = ("argmax", "balanced")


def hard_labels(p: np.ndarray, method: str = "argmax") -> np.ndarray:
    """Finds the group of each channel.

    Args:
      p: float (G, size), memberships.
      method: ``argmax`` (the paper), or ``balanced``: the labels with the largest sum of p among
        those whose group sizes differ by at most one.

    Returns:
      Labels, int (size,), from 0 to G - 1.
    """
    if method == "argmax":
        return np.argmax(p, axis=0)
    if method == "balanced":
        return assign_with_sizes(p, even_sizes(p.shape[1], p.shape[0]))
    raise GroupingError(f"`method` must be one of {', '.join(METHODS)}; got {method!r}.")


def space_assignments(losses: SplitLosses, plan: SplitPlan) -> dict:
    """Finds the ``Assignment`` layer of each planned space that a split kernel touches, by name."""
    kernels = {k.name: k for k in plan.kernels}
    found = {}
    for layer in losses.grouped_layers():
        kernel = kernels[layer.name]
        for names, assignments in (
            (kernel.in_spaces, layer.in_assignments),
            (kernel.out_spaces, layer.out_assignments),
        ):
            found.update(zip(dict.fromkeys(names), assignments, strict=True))
    return found


def read_grouping(
    grouped: keras.Model,
    method: str = "argmax",
    class_names: Sequence[str] | None = None,
) -> Grouping:
    """Reads the grouping that a grouped model has learned.

    Logs the share of the split kernels' energy that a cut would take away, as a warning where it is
    more than 1% of a kernel.

    Args:
      grouped: grouped ``keras.Model``, trained.
      method: ``"argmax"`` or ``"balanced"``, see ``hard_labels``. Defaults to ``"argmax"``.
      class_names: names of the classes, kept in the grouping for reading. Defaults to None.

    Raises:
      GroupingError: a group is left with no channel or class (the sentence says what to raise), or
        an assignment is not finite.
      PlanError: the model's first output is not one split space, see ``SplitPlan.classes``.

    >>> net = sn.models.mlp((8,), num_classes=4, input_shape=(6,))
    >>> grouped = sn.group_model(net, [("logits", 2)])
    >>> grouping = sn.read_grouping(grouped, method="balanced")
    >>> [len(group) for group in grouping.class_groups()]
    [2, 2]
    """
    losses = split_losses(grouped)
    plan = plan_of(grouped)
    assignments = space_assignments(losses, plan)
    spaces = []
    for space in plan.spaces:
        if space.name in assignments:
            p = keras.ops.convert_to_numpy(assignments[space.name].p())
            if not np.isfinite(p).all():
                raise GroupingError(
                    f"The assignments of space '{space.name}' are not finite: training has "
                    "diverged; read an earlier checkpoint, or train with a smaller learning rate."
                )
            labels = hard_labels(p, method)
        else:  # no split kernel reads or makes it: any even grouping is as good
            labels = even_labels(space.size, space.num_groups)
        spaces.append(SpaceGroups.from_labels(space.name, labels, space.num_groups))
    grouping = Grouping(
        grouped.name,
        plan.sections,
        method,
        tuple(spaces),
        plan.classes.name,
        tuple(class_names) if class_names is not None else None,
    )
    tell_energy(off_block_energy(grouped, grouping, plan))
    return grouping
