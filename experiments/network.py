"""The networks of a table's rows, before anything is trained."""

from __future__ import annotations

import bisect
import dataclasses

import keras

from experiments.recipe import Recipe, sections
from splitnet_tf import models
from splitnet_tf.analysis import cost
from splitnet_tf.data import Dataset
from splitnet_tf.grouping import SplitPlan


def build(recipe: Recipe, data: Dataset, split: str = "baseline") -> keras.Model:
    """A new network of a recipe, with the dropout of one of ``SPLITS``."""
    units = [s for s, groups in sections(split) if groups > 1 and s.startswith("unit_")]
    return models.wide_resnet(
        recipe.depth,
        recipe.width,
        data.num_classes,
        data.input_shape,
        dropout=recipe.dropout if units else 0.0,
        dropout_from=units[0] if units else None,
        bn_scale=recipe.bn_scale,
    )


def slim(recipe: Recipe, data: Dataset) -> Recipe:
    """The recipe for a narrower network, its parameters as near to the deep tree's as can be."""
    whole = build(recipe, data, "deep")
    wanted = cost(whole, SplitPlan.from_sections(whole, sections("deep"))).params
    recipes = [dataclasses.replace(recipe, width=k / 16) for k in range(1, 16 * recipe.width)]

    def params(narrower: Recipe) -> int:
        return cost(build(narrower, data)).params

    at = bisect.bisect_left(recipes, wanted, key=params)
    return min(recipes[max(0, at - 1) : at + 1], key=lambda r: abs(params(r) - wanted))
