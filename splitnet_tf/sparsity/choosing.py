"""Selections that are chosen: by the norms of groups, or at random."""

from __future__ import annotations

import numbers

import keras
import numpy as np
from keras import ops

from splitnet_tf.errors import ArgumentError
from splitnet_tf.graph.copying import plain_copy
from splitnet_tf.graph.trace import trace
from splitnet_tf.sparsity.group_lasso import group_norms, weights_by_path
from splitnet_tf.sparsity.selection import Kept, Selection
from splitnet_tf.sparsity.structures import Groups, structure_groups

CHOSEN = ("spaces", "shapes", "depth")


def select_by_norms(
    model: keras.Model,
    structure: str = "spaces",
    threshold: float | None = None,
    keep: float | None = None,
) -> Selection:
    """Selects the groups whose norms are large.

    Args:
      model: functional ``keras.Model``.
      structure: ``"spaces"``, ``"shapes"`` or ``"depth"``. Defaults to ``"spaces"``.
      threshold: float, groups whose norm is at most this go.
      keep: float in (0, 1], share of the groups of each space or layer that is kept, the largest;
        for ``"depth"`` of all layers. One of ``threshold`` and ``keep`` is given.

    Returns:
      The selection; every space and kernel keeps one group or more.

    Raises:
      ArgumentError: neither or both of ``threshold`` and ``keep``, or one out of its range.
    """
    if (threshold is None) == (keep is None):
        raise ArgumentError("Give one of `threshold` and `keep`.")
    if keep is not None:
        _check_share(keep)
    elif not isinstance(threshold, numbers.Real) or not threshold >= 0:
        raise ArgumentError(f"`threshold` must be a number of 0 or more; got {threshold!r}.")
    model = plain_copy(model)  # in which every weight has a path of its own
    variables = weights_by_path(model.variables)
    groups = _groups(model, structure)
    norms = [ops.convert_to_numpy(group_norms(g, variables)) for g in groups]
    if structure == "depth":
        every = np.concatenate([np.zeros(0), *norms])
        masks = np.split(_largest(every, threshold, keep, least=0), len(norms)) if norms else []
    else:
        masks = [_largest(n, threshold, keep) for n in norms]
    return _selection(model, "norms", structure, groups, masks)


def random_selection(model: keras.Model, keep: float = 0.5, seed: int = 0) -> Selection:
    """Keeps a share of the channels of each space, chosen at random.

    Args:
      model: functional ``keras.Model``.
      keep: float in (0, 1], share of the channels kept, one channel at least. Defaults to 0.5.
      seed: int, of the choice.

    Raises:
      ArgumentError: ``keep`` out of its range.
    """
    _check_share(keep)
    groups = _groups(model, "spaces")
    return _at_random(model, groups, [max(1, round(keep * g.count)) for g in groups], seed)


def random_like(model: keras.Model, selection: Selection, seed: int = 0) -> Selection:
    """Keeps as many channels of each space as a selection, chosen at random: a control.

    Args:
      model: functional ``keras.Model``.
      selection: made for this model.
      seed: int, of the choice.

    Raises:
      SelectionError: the selection was made for another model.
    """
    selection.check_model(trace(model))
    groups = _groups(model, "spaces")
    return _at_random(model, groups, [len(selection.space(g.name).indices) for g in groups], seed)


def _check_share(keep: float) -> None:
    if not isinstance(keep, numbers.Real) or not 0 < keep <= 1:
        raise ArgumentError(f"`keep` must be a number above 0 and at most 1; got {keep!r}.")


def _groups(model: keras.Model, structure: str) -> tuple[Groups, ...]:
    if structure not in CHOSEN:
        raise ArgumentError(f"`structure` must be one of {', '.join(CHOSEN)}; got {structure!r}.")
    return structure_groups(model, structure, frozen=True)


def _largest(norms: np.ndarray, threshold, keep, least: int = 1) -> np.ndarray:
    """Picks the largest norms, at least so many."""
    if keep is not None:
        count = max(least, round(keep * len(norms)))
    else:
        count = max(least, int((norms > threshold).sum()))
    kept = np.zeros(len(norms), bool)
    kept[np.argsort(-norms, kind="stable")[:count]] = True
    return kept


def _at_random(model, groups, counts, seed) -> Selection:
    if not isinstance(seed, numbers.Integral) or seed < 0:
        raise ArgumentError(f"`seed` must be a whole number of 0 or more; got {seed!r}.")
    rng = np.random.default_rng([seed, 41])
    masks = [rng.permutation(g.count) < n for g, n in zip(groups, counts, strict=True)]
    return _selection(model, "random", "spaces", groups, masks)


def _selection(model, method, structure, groups, masks) -> Selection:
    kept = tuple(Kept.from_mask(g.name, m) for g, m in zip(groups, masks, strict=True))
    if structure == "spaces":
        return Selection(model.name, method, kept)
    if structure == "shapes":
        return Selection(model.name, method, (), kept)
    return Selection(model.name, method, (), (), tuple(k.name for k in kept if not k.indices))
