"""Structured sparsity (SSL, Wen et al., 2016): learning what a network can do without."""

from splitnet_tf.sparsity.changes import Changes, KernelChange
from splitnet_tf.sparsity.choosing import random_like, random_selection, select_by_norms
from splitnet_tf.sparsity.crossing import bytes_crossing
from splitnet_tf.sparsity.group_lasso import (
    group_factors,
    group_norms,
    penalty,
    proximal_step,
    scaled,
    weights_by_path,
)
from splitnet_tf.sparsity.plan import SparsityPlan, Term
from splitnet_tf.sparsity.recipe import SparsityRecipe, strength_at
from splitnet_tf.sparsity.selection import (
    Kept,
    Selection,
    apply_selection,
    check_selection,
    read_selection,
)
from splitnet_tf.sparsity.shrink_model import Shrunk, predict_changes, shrink_model
from splitnet_tf.sparsity.sparse_model import sparse_model
from splitnet_tf.sparsity.steps import KeepZeros, ProximalStep, ThresholdStep, keep_zeros, step_of
from splitnet_tf.sparsity.structures import STRUCTURES, Groups, Part, structure_groups
from splitnet_tf.sparsity.watch import ZeroCount, needed_factor, zero_counts

__all__ = [
    "Changes",
    "Groups",
    "KeepZeros",
    "Kept",
    "KernelChange",
    "Part",
    "ProximalStep",
    "STRUCTURES",
    "Selection",
    "Shrunk",
    "SparsityPlan",
    "SparsityRecipe",
    "Term",
    "ThresholdStep",
    "ZeroCount",
    "apply_selection",
    "bytes_crossing",
    "check_selection",
    "group_factors",
    "group_norms",
    "keep_zeros",
    "needed_factor",
    "penalty",
    "predict_changes",
    "proximal_step",
    "random_like",
    "random_selection",
    "read_selection",
    "scaled",
    "select_by_norms",
    "shrink_model",
    "sparse_model",
    "step_of",
    "strength_at",
    "structure_groups",
    "weights_by_path",
    "zero_counts",
]
