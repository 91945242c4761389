"""Branches as one: exact for balanced trees, refused for others."""

import dataclasses

import keras
import numpy as np
import pytest
from keras import layers

import splitnet_tf as sn
from splitnet_tf.analysis import even_grouping
from splitnet_tf.errors import PlanError
from splitnet_tf.grouping import Grouping
from splitnet_tf.grouping.grouping import SpaceGroups
from splitnet_tf.splitting import fuse_tree
from tests.conftest import random_grouping, scramble, to_numpy


def shuffled_grouping(plan, rng) -> Grouping:
    """Groups as equal as can be, of channels chosen at random."""
    even = even_grouping(plan)
    spaces = tuple(
        SpaceGroups.from_labels(s.name, rng.permutation(s.labels()), s.num_groups)
        for s in even.spaces
    )
    return dataclasses.replace(even, spaces=spaces)


def with_flatten() -> keras.Model:
    inputs = keras.Input((8, 8, 3))
    x = layers.Conv2D(6, 3, activation="relu", name="conv1")(inputs)
    x = layers.MaxPooling2D(name="pool1")(x)
    x = layers.Conv2D(8, 3, padding="same", name="conv2")(x)
    x = layers.BatchNormalization(name="bn2")(x)
    x = layers.Flatten(name="flatten")(x)
    x = layers.Dropout(0.5, name="drop")(x)
    x = layers.Dense(16, activation="relu", name="fc1")(x)
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
    "flatten and biases": (with_flatten, [("conv2", 2), ("fc1", 4)]),
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
    inputs = keras.Input((8, 4))
    x = layers.Conv1D(4, 3, name="a")(inputs)
    x = layers.Conv1D(4, 3, name="b")(x)
    x = layers.GlobalAveragePooling1D()(x)
    model = keras.Model(inputs, layers.Dense(4, name="logits")(x))
    plan = sn.SplitPlan.from_sections(model, [("b", 2)])
    tree = sn.split_model(model, even_grouping(plan), plan)
    with pytest.raises(PlanError, match="Conv1D. has no fused form"):
        fuse_tree(tree)
