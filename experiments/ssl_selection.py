"""Selections of the rows of structured sparsity: at most so many channels, columns or blocks."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping

import keras
import numpy as np

from splitnet_tf.graph import plain_copy
from splitnet_tf.sparsity import Kept, Selection, apply_selection, group_norms, structure_groups

BLOCKS = "blocks"  # what a row's ``most`` calls the residual blocks of the whole network


def at_most(model: keras.Model, selection: Selection, most: Mapping[str, int]) -> Selection:
    """A selection with at most so many channels, columns and blocks, those of the largest norms.

    Args:
      model: the network.
      selection: of its zeros.
      most: space -> channels; ``<layer>:columns`` -> columns of the lowered kernel; ``blocks`` ->
        residual blocks of the network.
    """
    found = selection
    for structure, field in (("spaces", "spaces"), ("shapes", "columns")):
        wanted = {
            n.partition(":")[0]: k
            for n, k in most.items()
            if n != BLOCKS and (":" in n) == (field != "spaces")
        }
        zeros = plain_copy(model)
        apply_selection(zeros, found)
        weights = {v.path: v for v in zeros.variables}
        for groups in (
            structure_groups(zeros, structure, list(wanted), frozen=True) if wanted else ()
        ):
            norms = keras.ops.convert_to_numpy(group_norms(groups, weights))
            largest = np.argsort(-norms, kind="stable")[: wanted[groups.name]]
            mask = (norms > 0) & np.isin(np.arange(groups.count), largest)
            if mask.sum() < (norms > 0).sum():
                kept = [k for k in getattr(found, field) if k.name != groups.name]
                kept.append(Kept.from_mask(groups.name, mask))
                found = dataclasses.replace(found, method="norms", **{field: tuple(kept)})
    if BLOCKS in most:
        norms = block_norms(model)
        largest = sorted(norms, key=norms.get, reverse=True)[: most[BLOCKS]]
        found = _without(model, found, [n for n in norms if n not in largest or not norms[n]])
    return found


def block_norms(model: keras.Model) -> dict[str, float]:
    """Residual block -> norm of that of its kernels which has the smallest.

    A block without one of its convolutions does nothing, so the smallest decides.
    """
    weights = {v.path: v for v in model.variables}
    found: dict[str, float] = {}
    for groups in structure_groups(model, "depth", frozen=True):
        norm = float(group_norms(groups, weights)[0])
        block = _block(groups.name)
        found[block] = min(norm, found.get(block, norm))
    return found


def random_blocks(model: keras.Model, count: int, seed: int) -> Selection:
    """Keeps so many residual blocks of a network, chosen at random: a control."""
    blocks = list(block_norms(model))
    kept = set(np.random.default_rng([seed, 43]).permutation(len(blocks))[:count].tolist())
    gone = [name for i, name in enumerate(blocks) if i not in kept]
    return _without(model, Selection(model.name, "random", ()), gone)


def _without(model: keras.Model, selection: Selection, blocks: Iterable[str]) -> Selection:
    """A selection that gives up whole blocks as well."""
    blocks = set(blocks)
    layers = [g.name for g in structure_groups(model, "depth", frozen=True)]
    gone = [n for n in layers if _block(n) in blocks or n in selection.layers]
    if set(gone) == set(selection.layers):
        return selection
    method = "random" if selection.method == "random" else "norms"
    return dataclasses.replace(selection, method=method, layers=tuple(gone))


def _block(layer: str) -> str:
    """The block of a convolution called ``<block>_conv_<number>``."""
    return layer.rpartition("_conv_")[0]
