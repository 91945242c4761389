"""Layers with a kernel to split: the stock layer, plus assignment variables on both sides."""

from __future__ import annotations

from collections.abc import Mapping

import keras
import numpy as np
from keras import ops

from splitnet_tf.graph.twins import register_twin


class GroupedKernel:
    """Mixin of a stock layer with a ``kernel`` of shape (window..., in, out).

    Adds nothing to what the layer computes. Its channels' spaces are given by the assignment
    layers along each axis, laid end to end in the order of ``*_layout``; a space with more
    groups than this layer's is read through ``*_merges`` (paper, section 2.3).

    Args:
      num_groups: int, G of this layer's section.
      in_assignments, out_assignments: ``Assignment`` layers of its spaces, each once.
      in_layout, out_layout: indices into the assignment layers, in channel order.
      in_merges, out_merges: for each assignment layer, the group of this layer that each of its
        groups belongs to.
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
        **kwargs,
    ):
        super().__init__(*args, **kwargs)
        self.num_groups = num_groups
        self.in_assignments = list(in_assignments)
        self.out_assignments = list(out_assignments)
        self.in_layout = tuple(in_layout)
        self.out_layout = tuple(out_layout)
        self.in_merges = tuple(tuple(m) for m in in_merges)
        self.out_merges = tuple(tuple(m) for m in out_merges)
        self.split_losses = split_losses

    def build(self, input_shape):
        super().build(input_shape)
        for sub in (*self.in_assignments, *self.out_assignments, self.split_losses):
            if not sub.built:
                sub.build()
        self.split_losses.register(self)

    @property
    def alpha(self):
        """Assignment variable of the input space, (G of the space, in).

        A tensor of several variables side by side where the input has several spaces that carry
        as many groups.
        """
        return _variable(self.in_assignments, self.in_layout)

    @property
    def beta(self):
        """Assignment variable of the output space; it is the next layer's ``alpha``."""
        return _variable(self.out_assignments, self.out_layout)

    @property
    def p(self):
        """Membership of the input channels, (num_groups, in), after softmax and merging."""
        return _membership(self.in_assignments, self.in_layout, self.in_merges, self.num_groups)

    @property
    def q(self):
        """Membership of the output channels, (num_groups, out), after softmax and merging."""
        return _membership(self.out_assignments, self.out_layout, self.out_merges, self.num_groups)

    def in_groups(self, labels: Mapping[int, np.ndarray]) -> np.ndarray:
        """Finds the group of each input channel, int (in,).

        Args:
          labels: the group of each channel of a space, by the ``id`` of its ``Assignment``.
        """
        return _groups(self.in_assignments, self.in_layout, self.in_merges, labels)

    def out_groups(self, labels: Mapping[int, np.ndarray]) -> np.ndarray:
        """Finds the group of each output channel, int (out,); see ``in_groups``."""
        return _groups(self.out_assignments, self.out_layout, self.out_merges, labels)

    def call(self, inputs):
        outputs = super().call(inputs)
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


def _variable(assignments, layout):
    if len(layout) == 1:
        return assignments[layout[0]].logits
    return ops.concatenate([assignments[i].logits for i in layout], axis=1)


def _groups(assignments, layout, merges, labels):
    return np.concatenate([np.asarray(merges[i])[labels[id(assignments[i])]] for i in layout])


def _membership(assignments, layout, merges, num_groups):
    parts = []
    for assignment, merge in zip(assignments, merges, strict=True):
        p = assignment.p()
        if tuple(merge) != tuple(range(num_groups)):
            matrix = np.zeros((num_groups, len(merge)), "float32")
            matrix[list(merge), np.arange(len(merge))] = 1.0
            p = ops.matmul(ops.convert_to_tensor(matrix), p)
        parts.append(p)
    if len(layout) == 1:
        return parts[0]
    return ops.concatenate([parts[i] for i in layout], axis=1)


@keras.saving.register_keras_serializable(package="splitnet_tf")
class GroupedDense(GroupedKernel, keras.layers.Dense):
    """``keras.layers.Dense`` with assignment variables."""


@keras.saving.register_keras_serializable(package="splitnet_tf")
class GroupedConv1D(GroupedKernel, keras.layers.Conv1D):
    """``keras.layers.Conv1D`` with assignment variables."""


@keras.saving.register_keras_serializable(package="splitnet_tf")
class GroupedConv2D(GroupedKernel, keras.layers.Conv2D):
    """``keras.layers.Conv2D`` with assignment variables."""


@keras.saving.register_keras_serializable(package="splitnet_tf")
class GroupedConv3D(GroupedKernel, keras.layers.Conv3D):
    """``keras.layers.Conv3D`` with assignment variables."""


@keras.saving.register_keras_serializable(package="splitnet_tf")
class GroupedSeparableConv1D(GroupedKernel, keras.layers.SeparableConv1D):
    """``keras.layers.SeparableConv1D``; its pointwise kernel is the one to split."""

    @property
    def kernel(self):
        return self.pointwise_kernel


@keras.saving.register_keras_serializable(package="splitnet_tf")
class GroupedSeparableConv2D(GroupedKernel, keras.layers.SeparableConv2D):
    """``keras.layers.SeparableConv2D``; its pointwise kernel is the one to split."""

    @property
    def kernel(self):
        return self.pointwise_kernel


GROUPED_TYPES = {
    keras.layers.Dense: GroupedDense,
    keras.layers.Conv1D: GroupedConv1D,
    keras.layers.Conv2D: GroupedConv2D,
    keras.layers.Conv3D: GroupedConv3D,
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
    "split_losses",
)

for stock, grouped in GROUPED_TYPES.items():
    register_twin(grouped, stock, SETTINGS)
