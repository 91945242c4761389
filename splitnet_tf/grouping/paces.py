"""How fast each variable learns while the network is grouped."""

from __future__ import annotations

from collections.abc import Iterable

from splitnet_tf.grouping.assignment import Assignment
from splitnet_tf.grouping.split_losses import SplitLosses


def gradient_scales(
    losses: SplitLosses, pace: float, still: Iterable[Assignment] = (), split_part: float = 1.0
) -> dict[int, float]:
    """Factor on the gradient of a variable by its ``id``; those not named have 1.

    Args:
      losses: of the grouped model.
      pace: of the assignments.
      still: assignments that are given and not learned: 0.
      split_part: of kernels and biases that are split; the 2017 code's ``--finetune`` has 10.
    """
    layers = losses.grouped_layers()
    found = {id(w): split_part for x in layers for w in (x.kernel, x.bias) if w is not None}
    found |= {id(a.logits): pace for a in losses.assignments()}
    return found | {id(a.logits): 0.0 for a in still}
