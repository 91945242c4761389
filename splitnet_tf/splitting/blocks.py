"""Which weights of a kernel stay inside their group, and which the cut takes away."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import keras
import numpy as np

from splitnet_tf.errors import GroupingError
from splitnet_tf.graph.rules import split_kernel
from splitnet_tf.graph.trace import trace
from splitnet_tf.grouping.grouping import Grouping
from splitnet_tf.grouping.plan import PlannedKernel, SplitPlan


def check_grouping(plan: SplitPlan, grouping: Grouping) -> None:
    """Raises GroupingError when the grouping is not one of the plan's spaces."""
    given = {s.name: s for s in grouping.spaces}
    for space in plan.spaces:
        if space.name not in given:
            raise GroupingError(
                f"The grouping lacks space '{space.name}', which the plan splits; it was made for "
                "another model or plan."
            )
        found = given[space.name]
        if (found.size, found.num_groups) != (space.size, space.num_groups):
            raise GroupingError(
                f"Space '{space.name}' has {space.size} channels in {space.num_groups} groups, but "
                f"the grouping has {found.size} in {found.num_groups}; it was made for another "
                "model or plan."
            )


def channel_labels(
    plan: SplitPlan, grouping: Grouping, spaces: Iterable[str], level: int
) -> np.ndarray:
    """The group, at ``level``, of each channel of the named spaces laid end to end."""
    parts = []
    for name in spaces:
        merge = np.asarray(plan.merge(plan.space(name), level))
        parts.append(merge[grouping.space(name).labels()])
    return np.concatenate(parts)


def kernel_labels(
    plan: SplitPlan, grouping: Grouping, kernel: PlannedKernel
) -> tuple[np.ndarray, np.ndarray]:
    """The group, at the kernel's level, of each of its input and output channels."""
    rows, columns = (
        channel_labels(plan, grouping, spaces, kernel.level)
        for spaces in (kernel.in_spaces, kernel.out_spaces)
    )
    return rows, columns


def split_kernels(
    model: keras.Model, plan: SplitPlan, grouping: Grouping
) -> dict[str, keras.Variable]:
    """The kernel of each layer that has one to split, by the name the plan gives it.

    Raises:
      PlanError, GroupingError: the plan or the grouping was made for another model.
    """
    traced = trace(model)
    plan.check_model(traced)
    check_grouping(plan, grouping)
    return {c.name: split_kernel(c.op) for c in traced.graph.calls if c.name in traced.kernels}


def block_masks(plan: SplitPlan, grouping: Grouping) -> Iterator[tuple[str, np.ndarray]]:
    """For each split kernel its name and a mask (in, out): True inside the blocks."""
    for kernel in plan.kernels:
        rows, columns = kernel_labels(plan, grouping, kernel)
        yield kernel.name, rows[:, None] == columns[None, :]


def mask_off_blocks(model: keras.Model, plan: SplitPlan, grouping: Grouping) -> None:
    """Sets the off-block weights of a flat (grouped or plain) model to zero, in place."""
    kernels = split_kernels(model, plan, grouping)
    for name, mask in block_masks(plan, grouping):
        kernel = kernels[name]
        kernel.assign(keras.ops.convert_to_numpy(kernel) * mask.astype("float32"))


def off_block_energy(model: keras.Model, plan: SplitPlan, grouping: Grouping) -> dict[str, float]:
    """For each split kernel the share of its squared weights that the cut takes away."""
    shares, kernels = {}, split_kernels(model, plan, grouping)
    for name, mask in block_masks(plan, grouping):
        squares = np.square(keras.ops.convert_to_numpy(kernels[name]))
        total = float(squares.sum())
        shares[name] = float((squares * ~mask).sum()) / total if total else 0.0
    return shares
