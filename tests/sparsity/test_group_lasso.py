"""Norms, penalty, gradient and proximal step against loops over single weights."""

import keras
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from keras import layers, ops

from splitnet_tf.errors import ArgumentError
from splitnet_tf.graph import place_channels
from splitnet_tf.sparsity import (
    STRUCTURES,
    group_factors,
    group_norms,
    penalty,
    proximal_step,
    scaled,
    structure_groups,
)
from tests.conftest import to_numpy
from tests.sparsity import slow_loops
from tests.sparsity.gradients import gradients


def network():
    """A block whose convolution reads and makes the same space, a flattened end, a norm."""
    inputs = keras.Input((3, 3, 2))
    x = layers.Conv2D(3, 2, padding="same", name="a")(inputs)
    y = layers.BatchNormalization(name="norm")(layers.Conv2D(3, 2, padding="same", name="b")(x))
    x = layers.Flatten()(layers.Add()([x, y]))
    return keras.Model(inputs, layers.Dense(2, name="logits")(layers.Dense(4, name="c")(x)))


MODEL = network()
SHAPES = {v.path: tuple(v.shape) for v in MODEL.trainable_variables}
DEVICES = place_channels(MODEL, 2)
GROUPS = [g for s in STRUCTURES for g in structure_groups(MODEL, s, devices=DEVICES)]
IDS = [f"{g.structure} {g.name}" for g in GROUPS]


def draw(seed, zero=0.3):
    """Weights by path, of very different sizes, some of them zero."""
    rng = np.random.default_rng(seed)
    return {
        path: (
            rng.normal(size=shape) * 10.0 ** rng.uniform(-3, 1, shape) * (rng.random(shape) > zero)
        ).astype("float32")
        for path, shape in SHAPES.items()
    }


def kill(groups, values, dead):
    """Sets the groups named by number to zero."""
    for group in dead:
        for path, place in slow_loops.members(groups)[group]:
            values[path][place] = 0
    return values


@pytest.mark.parametrize("groups", GROUPS, ids=IDS)
def test_norms_and_penalty(groups):
    values = draw(1)
    expected = slow_loops.norms(groups, values)
    found = to_numpy(group_norms(groups, values))
    assert found.dtype == "float32" and found.shape == (groups.count,)
    np.testing.assert_allclose(found, expected, rtol=1e-6)
    strengths = np.random.default_rng(0).random(groups.count).astype("float32")
    found = float(penalty(groups, values, strengths))
    np.testing.assert_allclose(found, np.sum(strengths * expected), rtol=1e-6)


@given(st.integers(0, 10**6), st.sampled_from(GROUPS), st.floats(0, 2))
def test_proximal_step_is_its_closed_form(seed, groups, amount):
    values = draw(seed)
    amounts = np.full(groups.count, amount, "float32")
    expected = slow_loops.proximal(groups, values, amounts)
    found = proximal_step(groups, values, amounts)
    assert set(found) == set(expected)
    for path, value in expected.items():
        assert np.isfinite(to_numpy(found[path])).all()
        np.testing.assert_allclose(to_numpy(found[path]), value, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("groups", [g for g in GROUPS if g.structure != "spaces"])
def test_proximal_step_is_the_least_of_what_it_minimizes(groups):
    """|v - w|^2 / 2 + amount sum |v_g| is nowhere lower than at the step."""
    values = draw(2)
    amount = 0.5

    def energy(new):
        near = sum(np.square(new[p] - values[p]).sum() for p in new) / 2
        return near + amount * slow_loops.norms(groups, {**values, **new}).sum()

    step = {
        p: to_numpy(v).astype("float64") for p, v in proximal_step(groups, values, amount).items()
    }
    least = energy(step)
    rng = np.random.default_rng(3)
    for size in (1e-3, 1e-1):
        for _ in range(5):
            other = {p: v + rng.normal(size=v.shape) * size for p, v in step.items()}
            assert energy(other) > least
    for shrink in (0.9, 1.1):
        assert energy({p: v * shrink for p, v in step.items()}) >= least - 1e-6


@pytest.mark.parametrize("groups", GROUPS, ids=IDS)
def test_groups_at_zero_stay_there_and_are_exact(groups):
    values = kill(groups, draw(4), [0, groups.count - 1])
    amounts = to_numpy(group_norms(groups, values)) * 1.0001  # as large as each norm
    made = {p: to_numpy(v) for p, v in proximal_step(groups, values, amounts).items()}
    for group in slow_loops.members(groups):
        assert all(made[path][place] == 0 for path, place in group)
    made = {p: to_numpy(v) for p, v in proximal_step(groups, values, 0.0).items()}
    for path, value in made.items():
        np.testing.assert_array_equal(value, values[path])


@pytest.mark.parametrize("groups", [g for g in GROUPS if g.structure != "spaces"])
def test_the_gradient_of_a_group_has_the_strength_as_its_norm(groups):
    """Without the root it would have the group's norm times 2 instead."""
    strength = 0.37
    values = kill(groups, draw(5, zero=0), [0])
    grown = gradients(lambda v: penalty(groups, v, strength), values)
    assert all(np.isfinite(g).all() for g in grown.values())
    sizes = slow_loops.norms(groups, {**values, **grown})
    np.testing.assert_allclose(sizes[1:], strength, rtol=1e-4)
    assert sizes[0] == 0


def test_gradient_of_overlapping_groups_against_differences():
    (groups,) = (g for g in GROUPS if g.structure == "spaces" and g.name == "a")
    values = draw(6, zero=0)
    grown = gradients(lambda v: penalty(groups, v, 1.0), values)
    for path in ("b/kernel", "norm/gamma", "c/kernel"):
        place = tuple(n - 1 for n in SHAPES[path])
        step = 1e-4 * max(abs(values[path][place]), 1.0)
        ends = []
        for sign in (1, -1):
            moved = {p: v.astype("float64") for p, v in values.items()}
            moved[path][place] += sign * step
            ends.append(slow_loops.norms(groups, moved).sum())
        difference = (ends[0] - ends[1]) / (2 * step)
        np.testing.assert_allclose(grown[path][place], difference, rtol=1e-4, atol=1e-6)


def test_factors():
    for groups in GROUPS:
        np.testing.assert_array_equal(group_factors(groups), np.ones(groups.count, "float32"))
        sizes = [len(group) for group in slow_loops.members(groups)]
        np.testing.assert_allclose(group_factors(groups, "sqrt_size"), np.sqrt(sizes), rtol=1e-6)
    with pytest.raises(ArgumentError, match="`factor` must be one of none, sqrt_size; got 'unit'"):
        group_factors(GROUPS[0], "unit")


@given(st.integers(0, 10**6), st.sampled_from(GROUPS))
def test_norms_grow_with_the_weights(seed, groups):
    """Weights times -1 have the same norms; weights times 3 have three times those."""
    values = draw(seed)
    norms = to_numpy(group_norms(groups, values))
    turned = {p: -3 * v for p, v in values.items()}
    np.testing.assert_allclose(to_numpy(group_norms(groups, turned)), 3 * norms, rtol=1e-5)


def test_types():
    """Norms of bfloat16 weights are float32, and the step gives bfloat16 back."""
    groups = GROUPS[0]
    values = {p: ops.cast(v, "bfloat16") for p, v in draw(7).items()}
    assert keras.backend.standardize_dtype(group_norms(groups, values).dtype) == "float32"
    for value in proximal_step(groups, values, 0.1).values():
        assert keras.backend.standardize_dtype(value.dtype) == "bfloat16"
    halved = scaled(groups, values, np.full(groups.count, 0.5, "float32"))
    path = groups.parts[0].path
    np.testing.assert_array_equal(
        to_numpy(ops.cast(halved[path], "float32")),
        to_numpy(ops.cast(values[path], "float32")) / 2,
    )
