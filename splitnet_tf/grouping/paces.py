"""Paces: how fast each variable learns while the network is grouped."""

from __future__ import annotations

from collections.abc import Iterable

import keras

from splitnet_tf.grouping.assignment import Assignment
from splitnet_tf.grouping.group_model import split_losses
from splitnet_tf.grouping.recipe import GroupingRecipe
from splitnet_tf.grouping.split_losses import SplitLosses


def paces(
    grouped: keras.Model | SplitLosses,
    pace: float = GroupingRecipe.pace,
    still: Iterable[Assignment] = (),
    split_part: float = 1.0,
) -> dict[int, float]:
    """Finds the factor on the learning rate of variables by ``id``; a variable not named has 1.

    Args:
      grouped: grouped ``keras.Model``, or its ``SplitLosses``.
      pace: float, factor of the assignments. Defaults to 8.
      still: assignments that are given and not learned, with factor 0. Defaults to none.
      split_part: float, factor of kernels and biases that are split. Defaults to 1; the fine-tuning
        of the 2017 code has 10.

    >>> net = sn.models.mlp((8,), num_classes=4, input_shape=(6,))
    >>> grouped = sn.group_model(net, [("logits", 2)])
    >>> optimizer = sn.SGD(0.1, momentum=0.9, paces=sn.paces(grouped, 8))
    """
    losses = grouped if isinstance(grouped, SplitLosses) else split_losses(grouped)
    layers = losses.grouped_layers()
    found = {id(w): split_part for x in layers for w in (x.kernel, x.bias) if w is not None}
    found |= {id(a.logits): pace for a in losses.assignments()}
    return found | {id(a.logits): 0.0 for a in still}
