"""Unstructured sparsity to compare with: l1 on every single weight of the kernels."""

from __future__ import annotations

import keras
from keras import ops

from splitnet_tf.graph.kernels import is_kernel


class L1Step:
    """Step after the step: each weight of a kernel moves to zero by rate times strength.

    Args:
      strength: float; 0 only holds what is zero.
      masks: variable's path -> 0 where a weight is held at zero, else 1. Defaults to none.
    """

    def __init__(self, strength: float, masks: dict | None = None):
        self.strength, self.masks = strength, masks or {}

    def __call__(self, variables, rate) -> None:
        amount = ops.cast(rate, "float32") * self.strength
        for v in filter(is_kernel, variables):
            value = ops.convert_to_tensor(v)
            shrunk = ops.sign(value) * ops.maximum(ops.abs(value) - amount, 0.0)
            v.assign(shrunk * self.masks.get(v.path, 1.0))


def hold_zeros(model: keras.Model) -> L1Step:
    """The step that holds every weight at zero that is zero now."""
    kernels = filter(is_kernel, model.trainable_variables)
    masks = {v.path: ops.convert_to_numpy(v) != 0 for v in kernels}
    return L1Step(0.0, {path: mask.astype("float32") for path, mask in masks.items()})
