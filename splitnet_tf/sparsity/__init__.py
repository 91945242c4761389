"""Structured sparsity (SSL, Wen et al., 2016): learning what a network can do without."""

from splitnet_tf.sparsity.group_lasso import (
    group_factors,
    group_norms,
    penalty,
    proximal_step,
    scaled,
)
from splitnet_tf.sparsity.structures import STRUCTURES, Groups, Part, structure_groups

__all__ = [
    "Groups",
    "Part",
    "STRUCTURES",
    "group_factors",
    "group_norms",
    "penalty",
    "proximal_step",
    "scaled",
    "structure_groups",
]
