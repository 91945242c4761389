"""Layers with a kernel to split: the stock layer, plus assignment variables on both sides."""

from __future__ import annotations

from collections.abc import Mapping

import keras
import numpy as np
from keras import ops

from splitnet_tf.graph.twins import register_twin
from splitnet_tf.grouping.gates import gate_of


class GroupedKernel:
    """Mixin of a stock layer with a ``kernel`` of shape (window..., in, out).

    Adds nothing to what the layer computes, unless there are gates. Its channels' spaces are given
    by the assignment layers along each axis, laid end to end in the order of ``*_layout``, with as
    many channels for each of their members as ``*_widths`` says; a space with more groups than this
    layer's is read through ``*_merges`` (paper, section 2.3).

    Args:
      num_groups: int, G of this layer's section.
      in_assignments, out_assignments: ``Assignment`` layers of its spaces, each once.
      in_layout, out_layout: indices into the assignment layers, in channel order.
      in_merges, out_merges: for each assignment layer, the group of this layer that each of its
        groups belongs to.
      in_widths, out_widths: for each index of ``*_layout`` the channels of one member. Default to
        None, 1 each.
      split_losses: ``SplitLosses`` shared by the model's grouped layers.
    """

    def __init__(
        self,
        *args,
        num_groups,
        in_assignments,
        out_assignments,
        in_layout,
        out_layout,
        in_merges,
        out_merges,
        split_losses,
        in_widths=None,
        out_widths=None,
        **kwargs,
    ):
        super().__init__(*args, **kwargs)
        self._gating = False
        self.num_groups = num_groups
        self.in_assignments = list(in_assignments)
        self.out_assignments = list(out_assignments)
        self.in_layout = tuple(in_layout)
        self.out_layout = tuple(out_layout)
        self.in_merges = tuple(tuple(m) for m in in_merges)
        self.out_merges = tuple(tuple(m) for m in out_merges)
        self.in_widths = tuple(in_widths or (1,) * len(self.in_layout))
        self.out_widths = tuple(out_widths or (1,) * len(self.out_layout))
        self.split_losses = split_losses

    def build(self, input_shape):
        super().build(input_shape)
        for sub in (*self.in_assignments, *self.out_assignments, self.split_losses):
            if not sub.built:
                sub.build()
        self.split_losses.register(self)

    def matrix(self):
        """Returns the kernel to split with the axes (window..., in, out)."""
        return self.kernel

    def effective(self):
        """Returns ``matrix`` as the forward pass has it: behind the gate, where there is one."""
        return self.matrix()

    @property
    def alpha(self):
        """Assignment variable of the input space, (G of the space, in).

        A tensor where the input has several spaces that carry as many groups, side by side, or
        where several channels share one member of the variable.
        """
        return _variable(self.in_assignments, self.in_layout, self.in_widths)

    @property
    def beta(self):
        """Assignment variable of the output space; it is the next layer's ``alpha``."""
        return _variable(self.out_assignments, self.out_layout, self.out_widths)

    @property
    def p(self):
        """Membership of the input channels, (num_groups, in), after softmax and merging."""
        return _membership(self, "in", [a.p() for a in self.in_assignments])

    @property
    def q(self):
        """Membership of the output channels, (num_groups, out), after softmax and merging."""
        return _membership(self, "out", [a.p() for a in self.out_assignments])

    def in_groups(self, labels: Mapping[int, np.ndarray]) -> np.ndarray:
        """Finds the group of each input channel, int (in,).

        Args:
          labels: the group of each member of a space, by the ``id`` of its ``Assignment``.
        """
        return _groups(self.in_assignments, self.in_layout, self.in_widths, self.in_merges, labels)

    def out_groups(self, labels: Mapping[int, np.ndarray]) -> np.ndarray:
        """Finds the group of each output channel, int (out,); see ``in_groups``."""
        return _groups(
            self.out_assignments, self.out_layout, self.out_widths, self.out_merges, labels
        )

    def call(self, inputs):
        self._gating = self.split_losses.gates
        try:
            outputs = super().call(inputs)
        finally:
            self._gating = False
        if self.split_losses.is_reporter(self):
            outputs = self.split_losses(outputs)
        return outputs

    def get_config(self):
        # The shared layers as objects: Keras marks them as shared only when it serializes them
        # itself, all grouped layers in one go.
        return {
            **super().get_config(),
            "num_groups": self.num_groups,
            "in_assignments": list(self.in_assignments),
            "out_assignments": list(self.out_assignments),
            "in_layout": list(self.in_layout),
            "out_layout": list(self.out_layout),
            "in_merges": [list(m) for m in self.in_merges],
            "out_merges": [list(m) for m in self.out_merges],
            "in_widths": list(self.in_widths),
            "out_widths": list(self.out_widths),
            "split_losses": self.split_losses,
        }

    @classmethod
    def from_config(cls, config):
        config = dict(config)

        def load(value):
            is_layer = isinstance(value, keras.layers.Layer)
            return value if is_layer else keras.saving.deserialize_keras_object(value)

        for key in ("in_assignments", "out_assignments"):
            config[key] = [load(a) for a in config[key]]
        config["split_losses"] = load(config["split_losses"])
        return super().from_config(config)


def _side_by_side(parts, layout, widths):
    """Columns of each space's part for each of its channels, (G, channels)."""
    parts = [
        parts[i] if width == 1 else ops.repeat(parts[i], width, axis=1)
        for i, width in zip(layout, widths, strict=True)
    ]
    return parts[0] if len(parts) == 1 else ops.concatenate(parts, axis=1)


def _variable(assignments, layout, widths):
    return _side_by_side([a.logits for a in assignments], layout, widths)


def _groups(assignments, layout, widths, merges, labels):
    return np.concatenate(
        [
            np.repeat(np.asarray(merges[i])[labels[id(assignments[i])]], width)
            for i, width in zip(layout, widths, strict=True)
        ]
    )


def _membership(layer, side, memberships):
    """Memberships of the spaces of one side, merged into the layer's groups, (G, channels)."""
    num_groups, parts = layer.num_groups, []
    for p, merge in zip(memberships, getattr(layer, f"{side}_merges"), strict=True):
        if tuple(merge) != tuple(range(num_groups)):
            matrix = np.zeros((num_groups, len(merge)), "float32")
            matrix[list(merge), np.arange(len(merge))] = 1.0
            p = ops.matmul(ops.convert_to_tensor(matrix), p)
        parts.append(p)
    return _side_by_side(parts, getattr(layer, f"{side}_layout"), getattr(layer, f"{side}_widths"))


class GatedKernel(GroupedKernel):
    """Mixin of layers whose kernel can have a gate, see ``gates``."""

    @property
    def kernel(self):
        """Kernel of the stock layer; while a layer with gates is called, behind its gate."""
        kernel = super().kernel
        return self.gated(ops.convert_to_tensor(kernel)) if self._gating else kernel

    def gated(self, kernel):
        """Multiplies a kernel by the layer's gate."""
        sides = {"in": self.in_assignments, "out": self.out_assignments}
        hard = [_membership(self, side, [a.hard() for a in own]) for side, own in sides.items()]
        gate = gate_of(self.p, self.q, *hard, self.split_losses.closed)
        return kernel * ops.cast(gate, kernel.dtype)

    def effective(self):
        matrix = self.matrix()
        return self.gated(ops.convert_to_tensor(matrix)) if self.split_losses.gates else matrix


@keras.saving.register_keras_serializable(package="splitnet_tf")
class GroupedDense(GatedKernel, keras.layers.Dense):
    """``keras.layers.Dense`` with assignment variables."""


@keras.saving.register_keras_serializable(package="splitnet_tf")
class GroupedConv1D(GatedKernel, keras.layers.Conv1D):
    """``keras.layers.Conv1D`` with assignment variables."""


@keras.saving.register_keras_serializable(package="splitnet_tf")
class GroupedConv2D(GatedKernel, keras.layers.Conv2D):
    """``keras.layers.Conv2D`` with assignment variables."""


@keras.saving.register_keras_serializable(package="splitnet_tf")
class GroupedConv3D(GatedKernel, keras.layers.Conv3D):
    """``keras.layers.Conv3D`` with assignment variables."""


class _Separable(GroupedKernel):
    """Mixin of separable convolutions, whose pointwise kernel is the one to split."""

    @property
    def kernel(self):
        return self.pointwise_kernel


@keras.saving.register_keras_serializable(package="splitnet_tf")
class GroupedSeparableConv1D(_Separable, keras.layers.SeparableConv1D):
    """``keras.layers.SeparableConv1D`` with assignment variables."""


@keras.saving.register_keras_serializable(package="splitnet_tf")
class GroupedSeparableConv2D(_Separable, keras.layers.SeparableConv2D):
    """``keras.layers.SeparableConv2D`` with assignment variables."""


class _Transposed(GroupedKernel):
    """Mixin of transposed convolutions, whose kernel is (window..., out, in)."""

    def matrix(self):
        return ops.swapaxes(self.kernel, -1, -2)


@keras.saving.register_keras_serializable(package="splitnet_tf")
class GroupedConv1DTranspose(_Transposed, keras.layers.Conv1DTranspose):
    """``keras.layers.Conv1DTranspose`` with assignment variables."""


@keras.saving.register_keras_serializable(package="splitnet_tf")
class GroupedConv2DTranspose(_Transposed, keras.layers.Conv2DTranspose):
    """``keras.layers.Conv2DTranspose`` with assignment variables."""


@keras.saving.register_keras_serializable(package="splitnet_tf")
class GroupedConv3DTranspose(_Transposed, keras.layers.Conv3DTranspose):
    """``keras.layers.Conv3DTranspose`` with assignment variables."""


GROUPED_TYPES = {
    keras.layers.Dense: GroupedDense,
    keras.layers.Conv1D: GroupedConv1D,
    keras.layers.Conv2D: GroupedConv2D,
    keras.layers.Conv3D: GroupedConv3D,
    keras.layers.Conv1DTranspose: GroupedConv1DTranspose,
    keras.layers.Conv2DTranspose: GroupedConv2DTranspose,
    keras.layers.Conv3DTranspose: GroupedConv3DTranspose,
    keras.layers.SeparableConv1D: GroupedSeparableConv1D,
    keras.layers.SeparableConv2D: GroupedSeparableConv2D,
}

SETTINGS = (
    "num_groups",
    "in_assignments",
    "out_assignments",
    "in_layout",
    "out_layout",
    "in_merges",
    "out_merges",
    "in_widths",
    "out_widths",
    "split_losses",
)

for stock, grouped in GROUPED_TYPES.items():
    register_twin(grouped, stock, SETTINGS)
