"""Blocks of a kernel: the weights that stay inside their group, and those that the cut removes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import keras
import numpy as np

from splitnet_tf.errors import GroupingError
from splitnet_tf.graph.kernels import kernel_energy
from splitnet_tf.graph.rules import split_kernel
from splitnet_tf.grouping.grouping import Grouping
from splitnet_tf.grouping.plan import PlannedKernel, SplitPlan


def check_grouping(plan: SplitPlan, grouping: Grouping) -> None:
    """Raises GroupingError when the spaces of a grouping are not those of a plan."""
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
    """Finds the group, at a level, of each channel of the named spaces laid end to end."""
    parts = []
    for name in spaces:
        merge = np.asarray(plan.merge(plan.space(name), level))
        parts.append(merge[grouping.space(name).labels()])
    return np.concatenate(parts)


def kernel_labels(
    plan: SplitPlan, grouping: Grouping, kernel: PlannedKernel
) -> tuple[np.ndarray, np.ndarray]:
    """Finds the group, at the kernel's level, of each of its input and output channels."""
    rows, columns = (
        channel_labels(plan, grouping, spaces, kernel.level)
        for spaces in (kernel.in_spaces, kernel.out_spaces)
    )
    return rows, columns


def split_kernels(
    model: keras.Model, grouping: Grouping, plan: SplitPlan
) -> dict[str, keras.Variable]:
    """Finds the kernel of each layer that has one to split, by the name the plan gives it.

    Raises:
      PlanError, GroupingError: the plan or the grouping was made for another model.
    """
    traced = plan.trace_of(model)
    check_grouping(plan, grouping)
    return {c.name: split_kernel(c.op) for c in traced.graph.calls if c.name in traced.kernels}


def block_masks(plan: SplitPlan, grouping: Grouping) -> Iterator[tuple[str, np.ndarray]]:
    """Yields the name of each split kernel and a mask (in, out): True inside the blocks."""
    for kernel in plan.kernels:
        rows, columns = kernel_labels(plan, grouping, kernel)
        yield kernel.name, rows[:, None] == columns[None, :]


def mask_off_blocks(model: keras.Model, grouping: Grouping, plan: SplitPlan | None = None) -> None:
    """Sets the off-block weights of a flat model to zero, in place.

    Args:
      model: functional ``keras.Model``, grouped or plain.
      grouping: ``Grouping`` of its spaces.
      plan: ``SplitPlan``, by default the one of the grouping's sections.

    Raises:
      PlanError, GroupingError: the plan or the grouping was made for another model.
    """
    plan = plan or SplitPlan.from_sections(model, grouping.sections)
    kernels = split_kernels(model, grouping, plan)
    for name, mask in block_masks(plan, grouping):
        kernel = kernels[name]
        kernel.assign(keras.ops.convert_to_numpy(kernel) * mask.astype("float32"))


def off_block_energy(
    model: keras.Model, grouping: Grouping, plan: SplitPlan | None = None
) -> dict[str, float]:
    """Measures, for each split kernel, the share of its squared weights that the cut takes away.

    Args:
      model: functional ``keras.Model``, grouped or plain.
      grouping: ``Grouping`` of its spaces.
      plan: ``SplitPlan``, by default the one of the grouping's sections.

    Returns:
      Kernel's name to its share, from 0 to 1.

    Raises:
      PlanError, GroupingError: the plan or the grouping was made for another model.

    >>> net = sn.models.mlp((8,), num_classes=4, input_shape=(6,))
    >>> net.get_layer("logits").set_weights([np.ones((8, 4)), np.zeros(4)])
    >>> plan = sn.SplitPlan.from_sections(net, [("logits", 2)])
    >>> sn.off_block_energy(net, sn.Grouping.even(plan))
    {'logits': 0.5}
    """
    plan = plan or SplitPlan.from_sections(model, grouping.sections)
    kernels = split_kernels(model, grouping, plan)
    return {
        k.name: off_block_share(kernels[k.name], *kernel_labels(plan, grouping, k))
        for k in plan.kernels
    }


def off_block_share(kernel, rows: np.ndarray, columns: np.ndarray) -> float:
    """Measures the share of a kernel's energy between channels of different groups.

    Args:
      kernel: (window..., in, out).
      rows: int (in,), group of each input channel.
      columns: int (out,), group of each output channel.

    Returns:
      From 0 to 1; 0 for a kernel of zeros.
    """
    energy = kernel_energy(kernel)
    total = float(energy.sum())
    outside = rows[:, None] != columns[None, :]
    return float(energy[outside].sum()) / total if total else 0.0
