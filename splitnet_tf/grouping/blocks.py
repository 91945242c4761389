"""Blocks of a kernel: the weights that stay inside their group, and those that the cut removes."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import keras
import numpy as np

from splitnet_tf.errors import GroupingError
from splitnet_tf.graph.kernels import kernel_energy
from splitnet_tf.graph.rules import in_out, split_kernel
from splitnet_tf.grouping.grouping import Grouping
from splitnet_tf.grouping.plan import SplitPlan
from splitnet_tf.grouping.planned import PlannedKernel

# A cut that takes away more than this share of a kernel's energy is warned of.
MUCH = 0.01


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
                f"Space '{space.name}' has {space.size} {space.noun} in {space.num_groups} "
                f"groups, but the grouping has {found.size} in {found.num_groups}; it was made for "
                "another model or plan."
            )


def channel_labels(
    plan: SplitPlan, grouping: Grouping, spaces: Iterable[tuple[str, int]], level: int
) -> np.ndarray:
    """Finds the group, at a level, of each channel of some spaces laid end to end.

    Args:
      plan, grouping: of the model.
      spaces: name of each space, and channels of each of its members.
      level: int, level of the plan.
    """
    parts = []
    for name, width in spaces:
        merge = np.asarray(plan.merge(plan.space(name), level))
        parts.append(np.repeat(merge[grouping.space(name).labels()], width))
    return np.concatenate(parts)


def kernel_labels(
    plan: SplitPlan, grouping: Grouping, kernel: PlannedKernel
) -> tuple[np.ndarray, np.ndarray]:
    """Finds the group, at the kernel's level, of each of its input and output channels."""
    rows, columns = (
        channel_labels(plan, grouping, zip(spaces, widths, strict=True), kernel.level)
        for spaces, widths in (
            (kernel.in_spaces, kernel.in_widths),
            (kernel.out_spaces, kernel.out_widths),
        )
    )
    return rows, columns


def split_layers(model: keras.Model, grouping: Grouping, plan: SplitPlan) -> dict[str, Any]:
    """Finds each layer that has a kernel to split, by the name the plan gives it.

    Raises:
      PlanError, GroupingError: the plan or the grouping was made for another model.
    """
    traced = plan.trace_of(model)
    check_grouping(plan, grouping)
    return {c.name: c.op for c in traced.graph.calls if c.name in traced.kernels}


def split_matrix(layer: Any) -> np.ndarray:
    """Returns a layer's kernel as an array (window..., in, out)."""
    return keras.ops.convert_to_numpy(in_out(layer, split_kernel(layer)))


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
    layers = split_layers(model, grouping, plan)
    for name, mask in block_masks(plan, grouping):
        layer = layers[name]
        split_kernel(layer).assign(in_out(layer, split_matrix(layer) * mask.astype("float32")))


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
    layers = split_layers(model, grouping, plan)
    return {
        k.name: off_block_share(split_matrix(layers[k.name]), *kernel_labels(plan, grouping, k))
        for k in plan.kernels
    }


def tell_energy(shares: Mapping[str, float]) -> None:
    """Logs how much energy a cut takes away: a warning where it is more than 1% of a kernel.

    Args:
      shares: from ``off_block_energy``.
    """
    if not shares:
        return
    mean, worst = float(np.mean(list(shares.values()))), max(shares, key=shares.__getitem__)
    sentence = (
        f"A cut by these groups takes away {100 * mean:.2g}% of the split kernels' energy (squared "
        f"weights) on average, {100 * shares[worst]:.2g}% of '{worst}'"
    )
    if shares[worst] <= MUCH:
        logging.info("%s.", sentence)
        return
    logging.warning(
        "%s, the most. The tree will not compute what the model computes: train on with the split "
        "losses, with a larger `gamma1`, or finetune the tree.",
        sentence,
    )


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
