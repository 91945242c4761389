"""Layer rules: each says how a kind of layer treats its channels, and how to slice it.

A rule answers two questions. ``trace``: given the layouts of the inputs, what are the layouts
of the outputs? ``slice``: keep these input and output channels, in this order; what settings and
weights has the layer then? Where a layer works on several channels at once, ``units`` says on how
many. Rules live in a registry; ``register_rule`` adds one:

    @splitnet_tf.register_rule(MyPerChannelScale)
    class MyRule(splitnet_tf.graph.PerChannelRule):
        pass
"""

from __future__ import annotations

import abc
import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from keras import ops

from splitnet_tf.errors import PlanError
from splitnet_tf.graph.keras_reader import class_name, operation_key
from splitnet_tf.graph.spaces import Layout, SpaceBook, UnalignedUnits


class UnknownLayerError(PlanError):
    """A layer for which no rule is registered."""


ANY_OPERATION = "ops.*"  # stands for the ``keras.ops`` operations that have no rule of their own


class OpaqueCall(Exception):
    """Raised for a call that a rule cannot describe: it may stand where nothing is permuted."""


@dataclasses.dataclass(frozen=True)
class TraceContext:
    """One call, as a rule sees it.

    Attributes:
      name: str, name of the call.
      op: layer or operation called.
      args, kwargs: arguments of the call, tensors as ``TensorRef``.
      inputs: layout of each input tensor.
      input_shapes, output_shapes: shapes with None for the batch axis.
      book: spaces of the model so far.
      tied: bool, whether the input's channels have been tied into the rule's ``units``, so that
        the call runs inside a branch.
    """

    name: str
    op: Any
    args: tuple
    kwargs: dict
    inputs: tuple[Layout, ...]
    input_shapes: tuple[tuple, ...]
    output_shapes: tuple[tuple, ...]
    book: SpaceBook
    tied: bool = False

    def new(self, size: int, axis: int) -> Layout:
        """Makes the layout of a tensor whose channels start a new space."""
        return Layout(axis, (self.book.new(self.name, size),))

    def unify(self, a: Layout, b: Layout) -> None:
        """Makes two layouts one."""
        try:
            self.book.unify(a.spaces, b.spaces, self.name)
        except UnalignedUnits as reason:
            raise self.refuse(str(reason)) from None

    def widened(self, layout: Layout, run: int, made: int) -> Layout:
        """Makes the layout of a tensor with ``made`` channels for every ``run`` of a tied one."""
        return Layout(layout.axis, self.book.widened(layout.spaces, run, made))

    def refuse(self, reason: str) -> OpaqueCall:
        """Makes the exception to raise for a call that the rule cannot describe."""
        return OpaqueCall(reason)


class LayerRule(abc.ABC):
    """Base class of all rules.

    Attributes:
      kernel: bool, the layer has a kernel that mixes input channels into output channels, which
        a plan may split.
      whole: bool, the layer needs all channels at once (a softmax, a layer normalization): it
        cannot run inside a branch.
      ordered: bool, the layer also needs them in their original order, so that it cannot follow
        a permuted space even in the trunk.
      kernel_axes: axes of the kernel's input and output channels, counted from the end.
    """

    kernel = False
    whole = False
    ordered = False
    kernel_axes = (-2, -1)

    def has_kernel(self, op: Any) -> bool:
        """True when this layer's kernel may be split; by default the class attribute."""
        return self.kernel

    def kernel_of(self, layer: Any) -> Any:
        """Returns the variable to split, (window..., in, out) but for ``kernel_axes``."""
        return layer.kernel

    def rows_of_channel(self, layer: Any) -> int:
        """Counts the rows of the kernel that read one input channel; 1 by default."""
        return 1

    def units(self, ctx: TraceContext) -> int | None:
        """Counts the input channels of a unit, where a call that is whole can run in units.

        Channels that lie side by side are then tied (``ctx.tied``) and go to a branch together.
        None, the default, for all other calls.
        """
        return None

    @abc.abstractmethod
    def trace(self, ctx: TraceContext) -> Sequence[Layout]:
        """Returns the layout of each output tensor; may unify layouts through ``ctx``."""

    def is_whole(self, ctx: TraceContext) -> bool:
        """True when this call needs all channels at once; by default the class attribute."""
        return self.whole

    def slice(
        self, op: Any, ins: Sequence[np.ndarray], outs: Sequence[np.ndarray]
    ) -> tuple[dict, list[np.ndarray]]:
        """Returns settings to override and weights of the layer that keeps some channels.

        Args:
          op: layer or operation.
          ins, outs: for each input and output tensor the channels to keep, int arrays of indices
            into its channel axis, in their new order.
        """
        return {}, op.get_weights() if hasattr(op, "get_weights") else []


_RULES: dict[Any, LayerRule] = {}

# What a subclass of a stock layer may redefine to compute something else. ``kernel`` is a
# property of Keras' dense layers and convolutions.
_HOOKS = ("__call__", "call", "convolution_op", "kernel", "_merge_function")


def register_rule(*layer_types: type | str) -> Callable[[type[LayerRule]], type[LayerRule]]:
    """Registers a rule class for layer classes, or ``"ops.Name"`` for ``keras.ops`` calls.

    A rule holds for subclasses too, if they keep what computes the class's outputs: ``call``,
    ``convolution_op`` and the like. A class that cannot be imported from a public module is given
    by name, ``"keras.applications.convnext.LayerScale"``.

    Args:
      *layer_types: classes, or names.

    >>> class Scale(keras.layers.Layer):
    ...     def build(self, shape):
    ...         self.scale = self.add_weight(shape=shape[-1:], initializer="ones")
    ...     def call(self, x):
    ...         return x * self.scale
    >>> @sn.register_rule(Scale)
    ... class ScaleRule(sn.graph.PerChannelRule):
    ...     pass
    """

    def decorate(rule: type[LayerRule]) -> type[LayerRule]:
        for layer_type in layer_types:
            _RULES[layer_type] = rule()
        return rule

    return decorate


def share_rule(layer_type: type, known: type) -> None:
    """Says that a class treats its channels as a class with a rule does."""
    _RULES[layer_type] = _RULES[known]


def rule_for(op: Any, name: str) -> LayerRule:
    """Finds the rule for a layer or operation.

    Raises:
      UnknownLayerError: there is none; the sentence names the layer and the remedy.
    """
    key = operation_key(op)
    if key is not None:
        return _RULES.get(key, _RULES[ANY_OPERATION])
    for cls in type(op).__mro__:
        found = _RULES.get(cls, _RULES.get(class_name(cls)))
        if found is None:
            continue
        # A subclass that computes something else would be split into something else.
        if all(getattr(cls, h, None) is getattr(type(op), h, None) for h in _HOOKS):
            return found
        break
    kind = class_name(type(op))
    raise UnknownLayerError(
        f"Layer '{name}' is of type {kind}, for which no layer rule is known; register one with "
        "splitnet_tf.register_rule so that its channels can be traced."
    )


def split_kernel(layer: Any) -> Any:
    """Returns the kernel of a layer that a plan may split: a variable."""
    return rule_for(layer, layer.name).kernel_of(layer)


def in_out(layer: Any, kernel: Any) -> Any:
    """Returns a layer's kernel, or an array of its shape, with the axes (window..., in, out).

    Doing it twice gives back the first.
    """
    swapped = rule_for(layer, layer.name).kernel_axes == (-1, -2)
    return ops.swapaxes(kernel, -1, -2) if swapped else kernel
