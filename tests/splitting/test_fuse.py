"""Branches as one: exact for balanced trees, refused for others."""

import dataclasses

import keras
import numpy as np
import pytest
from keras import layers

import splitnet_tf as sn
from splitnet_tf.errors import PlanError
from splitnet_tf.grouping import Grouping
from splitnet_tf.grouping.space_groups import SpaceGroups
from splitnet_tf.splitting import fuse_tree
from tests.conftest import random_grouping, scramble, small_alexnet, to_numpy


def shuffled_grouping(plan, rng) -> Grouping:
    """Groups as equal as can be, of channels chosen at random."""
    even = sn.Grouping.even(plan)
    spaces = tuple(
        SpaceGroups.from_labels(s.name, rng.permutation(s.labels()), s.num_groups)
        for s in even.spaces
    )
    return dataclasses.replace(even, spaces=spaces)


def with_other_pooling() -> keras.Model:
    """Layers that have weights for no channel, one of which knows how many there are."""
    inputs = keras.Input((12, 4))
    x = layers.Conv1D(4, 3, activation="relu", padding="same", name="a")(inputs)
    x = layers.Conv1D(8, 3, padding="same", name="b")(x)
    x = layers.LeakyReLU()(layers.UpSampling1D(2)(x))
    x = layers.Reshape((8, 3, 8))(x)
    x = layers.GlobalMaxPooling2D()(x)
    return keras.Model(inputs, layers.Dense(8, name="logits")(x))


CASES = {
    "deep": (lambda: sn.models.wide_resnet(10, 1, 12, (8, 8, 3)), [("unit_2_0", 2)]),
    "hierarchical": (
        lambda: sn.models.wide_resnet(10, 1, 12, (8, 8, 3)),
        [("unit_2_0", 2), ("unit_3_0", 4)],
    ),
    "three levels": (
        lambda: sn.models.wide_resnet(10, 1, 24, (8, 8, 3)),
        [("unit_2_0", 2), ("unit_3_0", 4), ("logits", 8)],
    ),
    "flatten and biases": (lambda: small_alexnet(8, channels=8), [("conv2", 2)]),
    "other layers": (with_other_pooling, [("b", 2), ("logits", 4)]),
    "perceptron": (lambda: sn.models.mlp((12, 18), 12, (4, 4, 3)), [("fc2", 3)]),
}


@pytest.mark.parametrize("case", CASES)
def test_a_fused_tree_computes_what_the_tree_computes(case):
    make, sections = CASES[case]
    model = scramble(make())
    plan = sn.SplitPlan.from_sections(model, sections)
    tree = sn.split_model(model, shuffled_grouping(plan, np.random.default_rng(0)), plan)
    fused = fuse_tree(tree)
    shape = (5, *model.input_shape[1:])
    x = np.random.default_rng(1).normal(size=shape).astype("float32")
    expected = to_numpy(tree.model(x, training=False))
    found = to_numpy(fused(x, training=False))
    assert np.abs(found - expected).max() < 1e-5 * max(1.0, np.abs(expected).max())
    assert len(fused.weights) < len(tree.model.weights)
    assert fused.count_params() == tree.model.count_params()


def test_branches_that_differ_are_refused():
    model = sn.models.wide_resnet(10, 1, 12, (8, 8, 3))
    plan = sn.SplitPlan.from_sections(model, [("unit_2_0", 2)])
    tree = sn.split_model(model, random_grouping(plan, np.random.default_rng(3)), plan)
    with pytest.raises(PlanError, match="'branch_0' and 'branch_1' differ in shape"):
        fuse_tree(tree)


def test_a_layer_without_a_fused_form_is_named():
    inputs = keras.Input((8, 8, 4))
    x = layers.Conv2D(4, 3, name="a")(inputs)
    x = layers.SeparableConv2D(4, 3, name="b")(x)
    x = layers.GlobalAveragePooling2D()(x)
    model = keras.Model(inputs, layers.Dense(4, name="logits")(x))
    plan = sn.SplitPlan.from_sections(model, [("b", 2)])
    tree = sn.split_model(model, sn.Grouping.even(plan), plan)
    with pytest.raises(PlanError, match="SeparableConv2D. has no fused form"):
        fuse_tree(tree)
