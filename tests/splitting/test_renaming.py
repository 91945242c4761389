"""Promise 5: permuting classes or channels of a problem permutes the answer, nothing else."""

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from keras import layers

import splitnet_tf as sn
from splitnet_tf.graph import trace
from tests.conftest import random_grouping, scramble, to_numpy

SECTIONS = [
    [("unit_2_0", 2), ("unit_3_0", 2), ("logits", 2)],
    [("init_conv", 2), ("unit_2_0", 3)],
    [("unit_2_0", 2), ("unit_3_0", 4), ("logits", 4)],
    [("unit_2_0", 2), ("unit_3_0", 3), ("logits", 5)],
]


def space_of(traced, tensor):
    """The name of the one space of a tensor."""
    (space,) = traced.layouts[tensor].spaces
    return traced.spaces[space].name


def renamed(model, orders):
    """A copy whose channel i of each space is channel ``orders[space][i]`` of the model."""
    moved, traced = sn.plain_copy(model), trace(model)
    for call in traced.graph.calls:
        layer = moved.get_layer(call.name) if call.op.weights else None
        if layer is None:
            continue
        below, above = (orders[space_of(traced, t)] for t in (call.inputs[0], call.outputs[0]))
        values = [w[..., above] for w in layer.get_weights()]
        if isinstance(layer, (layers.Conv2D, layers.Dense)):
            values[0] = values[0][..., below, :]
        layer.set_weights(values)
    return moved


def split_up(model, sections, logits):
    """The grouped model with these assignments, its grouping and its tree."""
    plan = sn.SplitPlan.from_sections(model, sections)
    grouped = sn.group_model(model, plan, 1.0, 2.0, 3.0)
    spaces = {a.name: a for a in sn.split_losses(grouped).assignments()}
    assert spaces.keys() == {f"space_{name}" for name in logits}
    for name, values in logits.items():
        spaces[f"space_{name}"].logits.assign(values)
    grouping = sn.read_grouping(grouped, "argmax")
    return grouped, grouping, sn.split_model(grouped, grouping).model


def check_renaming(model, sections, seed):
    rng = np.random.default_rng(seed)
    plan = sn.SplitPlan.from_sections(model, sections)
    chosen = random_grouping(plan, rng)
    logits = {  # p of every channel is its own; the largest is that of its group
        s.name: rng.uniform(0, 1, (s.num_groups, s.size)) + np.eye(s.num_groups)[:, s.labels()]
        for s in chosen.spaces
    }
    traced = trace(model)
    orders = {s.name: rng.permutation(s.size) for s in traced.spaces}
    moved_logits = {name: values[:, orders[name]] for name, values in logits.items()}
    moved = renamed(model, orders)
    images, classes = (
        orders[space_of(traced, t)] for t in (traced.graph.inputs[0], traced.graph.outputs[0])
    )
    x = rng.normal(size=(3, *model.input_shape[1:])).astype("float32")

    first = split_up(model, sections, logits)
    second = split_up(moved, sections, moved_logits)
    assert any(len({len(m) for m in s.members}) > 1 for s in first[1].spaces)  # unequal groups
    for space, other in zip(first[1].spaces, second[1].spaces, strict=True):
        assert space == chosen.space(space.name)
        np.testing.assert_array_equal(other.labels(), space.labels()[orders[space.name]])
    for one, other in ((first[0], second[0]), (first[2], second[2])):  # uncut, and the tree
        found, expected = to_numpy(other(x[..., images])), to_numpy(one(x))[:, classes]
        scale = np.abs(expected).max()
        assert scale > 1e-3
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5 * scale)
    losses = [
        [float(to_numpy(loss)) for loss in grouped.losses] for grouped in (first[0], second[0])
    ]
    assert len(losses[0]) == 3 and min(losses[0]) > 1e-3
    assert losses[1] == pytest.approx(losses[0], rel=1e-5)


@pytest.mark.slow
@given(st.sampled_from(SECTIONS), st.integers(0, 10**6))
@settings(max_examples=6)
def test_wide_resnets_by_other_names(sections, seed):
    """Convolutions, batch norms and additions, in two and three levels."""
    model = scramble(sn.models.wide_resnet(10, 0.5, 10, (8, 8, 3)), seed)
    check_renaming(model, sections, seed)


@given(st.integers(0, 10**6))
@settings(max_examples=3)
def test_perceptrons_by_other_names(seed):
    """Layers with biases."""
    inputs = keras.Input((5,))
    x = layers.Dense(8, activation="relu", name="fc1")(inputs)
    x = layers.Dense(10, activation="relu", name="fc2")(x)
    model = scramble(keras.Model(inputs, layers.Dense(6, name="logits")(x)), seed)
    check_renaming(model, [("fc2", 2), ("logits", 3)], seed)
