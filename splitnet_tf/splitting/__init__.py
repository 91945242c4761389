"""Hard assignment, cutting a model into a tree of branches, batch-norm recalibration."""

from splitnet_tf.splitting.blocks import block_masks, mask_off_blocks, off_block_energy
from splitnet_tf.splitting.fuse import fuse_tree
from splitnet_tf.splitting.hard_assignment import hard_labels, read_grouping
from splitnet_tf.splitting.recalibrate import recalibrate_batch_norm
from splitnet_tf.splitting.split_model import split_model
from splitnet_tf.splitting.tree import Feed, Node, SplitTree

__all__ = [
    "Feed",
    "Node",
    "SplitTree",
    "block_masks",
    "fuse_tree",
    "hard_labels",
    "mask_off_blocks",
    "off_block_energy",
    "read_grouping",
    "recalibrate_batch_norm",
    "split_model",
]
