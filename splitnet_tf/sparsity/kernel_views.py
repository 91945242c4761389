"""A layer with a kernel as what it computes: kernel times input, plus bias, then an activation."""

from __future__ import annotations

import dataclasses

import numpy as np
from keras import ops

from splitnet_tf.graph.calls import Call
from splitnet_tf.graph.kernel_rules import ConvRule, DenseRule, SeparableConvRule
from splitnet_tf.graph.rules import in_out
from splitnet_tf.graph.trace import Trace
from splitnet_tf.sparsity.windows import sees_padding, windows_of


@dataclasses.dataclass(frozen=True, eq=False)
class KernelView:
    """Inputs that a layer reads, and constants that it makes of constant ones.

    Attributes:
      call: of the layer.
      linear: bool, whether the layer is known to be linear before its activation; a layer of
        one's own with a rule may do anything with the inputs that its kernel lets through.
      sums: float64 (in, out), the kernel summed over the window.
      reads: bool (in, out), whether some weight between them is not zero.
      at_border: bool (in, out), whether such a weight ever lies on a padded zero.
      bias: float64 (out,).
    """

    call: Call
    linear: bool
    sums: np.ndarray
    reads: np.ndarray
    at_border: np.ndarray
    bias: np.ndarray

    def needs(self, values: np.ndarray, made: np.ndarray, foldable: bool) -> np.ndarray:
        """Inputs without which the outputs cannot be made.

        Args:
          values: float (in,), constants of the inputs; nan for others.
          made: bool (out,), outputs wanted.
          foldable: bool, whether a constant can go into the bias.

        Returns:
          bool (in,).
        """
        read = self.reads[:, made].any(axis=1)
        if not self.linear:
            return read
        known = values == 0
        if foldable:
            known |= ~np.isnan(values) & ~self.at_border[:, made].any(axis=1)
        return read & ~known

    def constants(self, values: np.ndarray) -> np.ndarray:
        """Constants of the outputs before the activation, float (out,); nan for others."""
        varies = self.reads[np.isnan(values)].any(axis=0)
        inner = np.nan_to_num(values)
        varies |= self.at_border[inner != 0].any(axis=0)
        return np.where(varies | (not self.linear), np.nan, inner @ self.sums + self.bias)


def kernel_view(traced: Trace, call: Call) -> KernelView:
    """The view of a call whose kernel mixes channels (one of ``traced.kernels``)."""
    rule, op = traced.rule(call), call.op
    if isinstance(rule, SeparableConvRule):
        depthwise = ops.convert_to_numpy(op.depthwise_kernel)[..., 0]
        pointwise = ops.convert_to_numpy(op.pointwise_kernel)
        pointwise = pointwise.reshape(pointwise.shape[-2:])
        kernel = depthwise.astype("float64")[..., None] * pointwise
    else:
        kernel = ops.convert_to_numpy(in_out(op, rule.kernel_of(op))).astype("float64")
    window = tuple(range(kernel.ndim - 2))
    used = kernel != 0
    linear = isinstance(rule, (DenseRule, ConvRule, SeparableConvRule))
    border = np.zeros(kernel.shape[:-2], bool)
    if linear and window:
        border = sees_padding(windows_of(traced, call))
    bias = getattr(op, "bias", None)
    bias = np.zeros(kernel.shape[-1]) if bias is None else ops.convert_to_numpy(bias)
    return KernelView(
        call,
        linear,
        kernel.sum(axis=window),
        used.any(axis=window),
        (used & border[..., None, None]).any(axis=window),
        bias.astype("float64"),
    )


def kernel_views(traced: Trace) -> dict[str, KernelView]:
    """The view of every such call, by the call's name."""
    calls = traced.graph.calls
    return {c.name: kernel_view(traced, c) for c in calls if c.name in traced.kernels}
