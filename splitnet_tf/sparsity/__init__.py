"""Structured sparsity (SSL, Wen et al., 2016): learning what a network can do without."""

from splitnet_tf.sparsity.group_lasso import (
    group_factors,
    group_norms,
    penalty,
    proximal_step,
    scaled,
)
from splitnet_tf.sparsity.plan import SparsityPlan, Term
from splitnet_tf.sparsity.sparse_model import sparse_model
from splitnet_tf.sparsity.steps import KeepZeros, ProximalStep, ThresholdStep, keep_zeros, step_of
from splitnet_tf.sparsity.structures import STRUCTURES, Groups, Part, structure_groups

__all__ = [
    "Groups",
    "KeepZeros",
    "Part",
    "ProximalStep",
    "STRUCTURES",
    "SparsityPlan",
    "Term",
    "ThresholdStep",
    "group_factors",
    "group_norms",
    "keep_zeros",
    "penalty",
    "proximal_step",
    "scaled",
    "sparse_model",
    "step_of",
    "structure_groups",
]
