"""Trees and models with the preparation of their inputs in front, as stock operations."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras

from splitnet_tf.errors import PlanError
from splitnet_tf.graph.keras_reader import functional_model
from splitnet_tf.splitting.tree import SplitTree, WholeModel


def with_front(
    tree: SplitTree | WholeModel, front: Callable[[Any], Any], dtype: str
) -> SplitTree | WholeModel:
    """A tree that prepares its inputs itself; so does each node that reads them.

    Args:
      tree: takes prepared inputs, one tensor; its layers are shared.
      front: symbolic tensor of raw inputs -> of prepared inputs, by operations of stock Keras.
      dtype: string, type of the raw inputs.

    Raises:
      PlanError: the tree has several inputs.

    >>> net = sn.models.mlp((8,), num_classes=4, input_shape=(6,))
    >>> tree = sn.split_model(net, sn.Grouping.even(sn.SplitPlan.from_sections(net, [("logits", 2)])))
    >>> raw = with_front(tree, lambda x: keras.ops.cast(x, "float32") / 255, "uint8")
    >>> raw.trunk.model.input.dtype
    'uint8'
    """  # noqa: E501, an example
    model = tree.model
    if len(model.inputs) != 1:
        raise PlanError(
            f"Model '{model.name}' has {len(model.inputs)} inputs, where a single one can be "
            "prepared in front; export it without its preprocessing."
        )
    if not isinstance(tree, SplitTree):
        return WholeModel(_prepared(model, [True], front, dtype))
    made = {
        node.name: _prepared(node.model, [f.source is None for f in node.feeds], front, dtype)
        for node in tree.nodes()
        if any(f.source is None for f in node.feeds)
    }
    whole = keras.models.clone_model(
        model,
        input_tensors=_raw(model.inputs[0], dtype),
        clone_function=lambda layer: made.get(layer.name, layer),
    )
    whole.name = model.name
    return SplitTree(whole)


def _prepared(
    model: keras.Model, raw: list[bool], front: Callable[[Any], Any], dtype: str
) -> keras.Model:
    """A model with the same layers, of whose inputs some are raw."""
    inputs = [
        _raw(x, dtype if is_raw else x.dtype) for x, is_raw in zip(model.inputs, raw, strict=True)
    ]
    fed = [front(x) if is_raw else x for x, is_raw in zip(inputs, raw, strict=True)]
    # ``call``, not the model itself: the layers stay in one flat model.
    form = functional_model(model).input
    outputs = model.call(keras.tree.pack_sequence_as(form, fed))
    return keras.Model(keras.tree.pack_sequence_as(form, inputs), outputs, name=model.name)


def _raw(x: Any, dtype: str) -> Any:
    return keras.Input(batch_shape=x.shape, dtype=dtype, name=x.name)
