"""SplitNet, learning: plans, assignment variables, split losses, grouped layers, groupings."""

from splitnet_tf.grouping.assignment import Assignment
from splitnet_tf.grouping.blocks import block_masks, mask_off_blocks, off_block_energy
from splitnet_tf.grouping.group_model import group_model, plan_of, split_losses
from splitnet_tf.grouping.grouped_layers import (
    GroupedConv1D,
    GroupedConv2D,
    GroupedConv3D,
    GroupedDense,
    GroupedSeparableConv1D,
    GroupedSeparableConv2D,
)
from splitnet_tf.grouping.grouping import Grouping
from splitnet_tf.grouping.plan import PlannedKernel, PlannedSpace, SplitPlan
from splitnet_tf.grouping.read_grouping import hard_labels, read_grouping
from splitnet_tf.grouping.recipe import GroupingRecipe
from splitnet_tf.grouping.space_groups import SpaceGroups
from splitnet_tf.grouping.split_losses import SplitLosses
from splitnet_tf.grouping.start import start_from_clusters

__all__ = [
    "Assignment",
    "GroupedConv1D",
    "GroupedConv2D",
    "GroupedConv3D",
    "GroupedDense",
    "GroupedSeparableConv1D",
    "GroupedSeparableConv2D",
    "Grouping",
    "GroupingRecipe",
    "PlannedKernel",
    "PlannedSpace",
    "SpaceGroups",
    "SplitLosses",
    "SplitPlan",
    "block_masks",
    "group_model",
    "hard_labels",
    "mask_off_blocks",
    "off_block_energy",
    "plan_of",
    "read_grouping",
    "split_losses",
    "start_from_clusters",
]
