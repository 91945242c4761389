"""Cutting a grouped model into a tree of branches."""

from splitnet_tf.grouping.blocks import block_masks, mask_off_blocks, off_block_energy
from splitnet_tf.splitting.fuse import fuse_tree
from splitnet_tf.splitting.split_model import split_model
from splitnet_tf.splitting.tree import Feed, Node, SplitTree, WholeModel, is_tree

__all__ = [
    "Feed",
    "Node",
    "SplitTree",
    "WholeModel",
    "block_masks",
    "fuse_tree",
    "is_tree",
    "mask_off_blocks",
    "off_block_energy",
    "split_model",
]
