"""Promise 2 for layers that keep channels together: they go to the branches in units."""

import dataclasses

import keras
import numpy as np
import pytest
from keras import layers

import splitnet_tf as sn
from splitnet_tf.grouping.space_groups import SpaceGroups
from tests.conftest import random_grouping, scramble, to_numpy
from tests.splitting.test_any_layers import image_net
from tests.splitting.test_split_model import check_split


def residual_block(x):
    """As in ResNeXt."""
    y = layers.Conv2D(6, 3, groups=3, padding="same")(layers.Conv2D(6, 1)(x))
    return layers.Add()([x, layers.Conv2D(8, 1)(layers.ReLU()(y))])


# Units of the space that ``mix`` reads, and channels of each in what it reads.
UNITS = {
    "conv of groups": (lambda x: layers.Conv2D(12, 3, groups=4)(x), 4, 3),
    "two filters a channel": (lambda x: layers.Conv2D(16, 3, groups=8)(x), 8, 2),
    "group norm": (lambda x: layers.GroupNormalization(4)(x), 4, 2),
    "group norm of a run each": (lambda x: layers.GroupNormalization(2)(x), 2, 4),
    "group norm across groups": (
        lambda x: layers.GroupNormalization(6)(layers.Conv2D(12, 3, groups=4)(x)),
        2,
        6,
    ),
    "groups of two sizes": (
        lambda x: layers.Conv2D(6, 1, groups=2)(layers.Conv2D(12, 3, groups=4)(x)),
        2,
        3,
    ),
    "depth multiplier": (lambda x: layers.DepthwiseConv2D(3, depth_multiplier=3)(x), 8, 3),
    "separable with multiplier": (
        lambda x: layers.SeparableConv2D(8, 3, depth_multiplier=2)(x),
        8,
        1,
    ),
    "sum with units": (
        lambda x: layers.Add()(
            [layers.Conv2D(16, 1)(x), layers.DepthwiseConv2D(1, depth_multiplier=2)(x)]
        ),
        8,
        2,
    ),
    "residual block": (residual_block, 8, 1),
    "transposed": (lambda x: layers.Conv2DTranspose(6, 3, strides=2)(x), 6, 1),
}


@pytest.mark.parametrize("kind", UNITS)
def test_layers_of_branches_in_units(kind):
    layer, units, width = UNITS[kind]
    model = image_net(layer)
    plan = sn.SplitPlan.from_sections(model, [("stem", 2)])
    mix = next(k for k in plan.kernels if k.name == "mix")
    assert (plan.space(mix.in_spaces[0]).size, mix.in_widths) == (units, (width,))
    check_split(model, [("stem", 2)], seed=len(kind))
    check_split(model, [("mix", 2)], seed=len(kind))
    if units >= 3:
        check_split(model, [("stem", 2), ("mix", 3)], seed=len(kind))


def test_units_in_spaces_end_to_end_and_repeated():
    """Units of a concatenation, flattened: each of its spaces is cut along its own units."""
    inputs = keras.Input((4, 4, 3))
    x = layers.Conv2D(4, 1, name="a")(inputs)
    x = layers.Concatenate()([x, layers.Conv2D(6, 1, name="b")(inputs)])
    x = layers.Conv2D(15, 2, groups=5, name="joint")(x)
    x = layers.Dense(6, name="dense")(layers.Flatten()(x))
    model = scramble(keras.Model(inputs, layers.Dense(4, name="logits")(x)))
    plan = sn.SplitPlan.from_sections(model, [("a", 2), ("b", 2)])
    dense = next(k for k in plan.kernels if k.name == "dense")
    assert dense.in_spaces == ("a", "b") * 9 and set(dense.in_widths) == {3}
    assert {s.name: s.size for s in plan.spaces if s.in_units} == {"a": 2, "b": 3}
    for seed in range(3):
        check_split(model, [("a", 2), ("b", 2)], seed)


def test_the_trunk_runs_groups_of_channels_in_their_order():
    """Below the cut nothing is tied: branches take single channels."""
    model = image_net(lambda x: layers.Conv2D(12, 3, groups=4, name="joint")(x))
    plan = sn.SplitPlan.from_sections(model, [("mix", 2)])
    assert (plan.space("joint").size, plan.unsorted) == (12, {"joint"})


def test_memberships_are_those_of_the_units():
    model = image_net(lambda x: layers.Conv2D(12, 3, groups=4, name="joint")(x))
    grouped = sn.group_model(model, [("stem", 2)], seed=0)
    mix = grouped.get_layer("mix")
    (space,) = mix.in_assignments
    assert space.logits.shape == (2, 4) and mix.alpha.shape == (2, 12)
    np.testing.assert_array_equal(to_numpy(mix.p), np.repeat(to_numpy(space.p()), 3, axis=1))
    sn.start_from_clusters(grouped)
    grouping = sn.read_grouping(grouped, "balanced")
    assert [len(m) for m in grouping.space(sn.plan_of(grouped).spaces[1].name).members] == [2, 2]


def test_fewer_units_than_groups():
    model = image_net(UNITS["groups of two sizes"][0])
    with pytest.raises(sn.PlanError, match="has 2 units of channels that stay together, fewer"):
        sn.SplitPlan.from_sections(model, [("stem", 3)])


def test_a_grouping_of_single_channels_would_tear_units():
    model = image_net(UNITS["group norm"][0])
    plan = sn.SplitPlan.from_sections(model, [("stem", 2)])
    grouping = random_grouping(plan, np.random.default_rng(0))
    torn = SpaceGroups.from_labels("stem", np.arange(8) % 2, 2)
    spaces = tuple(torn if s.name == "stem" else s for s in grouping.spaces)
    with pytest.raises(sn.GroupingError, match="'stem' has 4 units .* grouping has 8 in 2"):
        sn.split_model(model, dataclasses.replace(grouping, spaces=spaces), plan)


def test_classes_in_units_are_refused():
    inputs = keras.Input((4, 4, 3))
    x = layers.Conv2D(8, 1, name="stem")(inputs)
    model = keras.Model(inputs, layers.GlobalAveragePooling2D()(layers.Conv2D(6, 1, groups=2)(x)))
    with pytest.raises(sn.PlanError, match="classes are made in units of 3 that stay together"):
        sn.SplitPlan.from_sections(model, [("stem", 2)])


def test_units_of_unequal_size_cannot_be_joined():
    def middle(x):
        twice = layers.Concatenate()([x, x])
        y = layers.DepthwiseConv2D(3, padding="same", depth_multiplier=2)(x)
        return layers.Add(name="sum")([twice, y])

    model = image_net(middle)
    check_split(model, [("mix", 2)])
    with pytest.raises(sn.PlanError, match="'sum' .*joins channels whose units differ in size"):
        sn.SplitPlan.from_sections(model, [("stem", 2)])


@pytest.mark.parametrize("kind", ["conv of groups", "group norm", "group norm of a run each"])
def test_fused_branches_in_units(kind):
    inputs = keras.Input((8, 8, 4))
    x = UNITS[kind][0](layers.Conv2D(8, 1, name="stem")(inputs))
    x = layers.Dense(6, name="logits")(layers.GlobalAveragePooling2D()(x))
    model = scramble(keras.Model(inputs, x))
    plan = sn.SplitPlan.from_sections(model, [("stem", 2)])
    x = np.random.default_rng(0).normal(size=(2, 8, 8, 4)).astype("float32")
    tree = sn.split_model(model, sn.Grouping.even(plan), plan)
    fused = sn.splitting.fuse_tree(tree)
    np.testing.assert_allclose(to_numpy(fused(x)), to_numpy(tree.model(x)), rtol=1e-4, atol=1e-5)
