"""Unstructured sparsity to compare with: l1 on every single weight of the kernels."""

from __future__ import annotations

from keras import ops

from splitnet_tf.graph.kernels import is_kernel


class L1Step:
    """Step after the step: each weight of a kernel moves to zero by rate times strength.

    Args:
      strength: float, 0 or more.
    """

    def __init__(self, strength: float):
        self.strength = strength

    def __call__(self, variables, rate) -> None:
        amount = ops.cast(rate, "float32") * self.strength
        for v in filter(is_kernel, variables):
            value = ops.convert_to_tensor(v)
            v.assign(ops.sign(value) * ops.maximum(ops.abs(value) - amount, 0.0))
