"""Blocks of kernels between devices: their groups, steps and zeros, against NumPy."""

import keras
import numpy as np
import pytest
from keras import layers

import splitnet_tf as sn
from splitnet_tf.errors import ArgumentError
from splitnet_tf.sparsity import (
    bytes_crossing,
    group_norms,
    penalty,
    proximal_step,
    structure_groups,
)
from tests.conftest import to_numpy
from tests.sparsity.gradients import gradients
from tests.sparsity.zeros import settle

PLACEMENT = {"conv1": [[0, 3], [1], [2]], "conv2": [[4, 1], [0], [2, 3]]}


def network():
    x = inputs = keras.Input((4, 4, 2))
    x = layers.Conv2D(4, 3, padding="same", name="conv1")(x)
    x = layers.Conv2DTranspose(5, 3, padding="same", name="conv2")(x)
    x = layers.SeparableConv2D(3, 3, padding="same", name="separable")(x)
    x = layers.Flatten()(layers.MaxPooling2D(2)(x))
    return settle(keras.Model(inputs, layers.Dense(3, name="logits")(x)), 0)


def blocks(model, num_devices=3, placement=PLACEMENT):
    devices = sn.place_channels(model, num_devices, placement)
    return structure_groups(model, "blocks", devices=devices)


def matrix(model, layer):
    """A kernel as (window, in, out)."""
    found = model.get_layer(layer)
    if layer == "conv2":  # a transposed kernel is (window, out, in)
        return np.swapaxes(to_numpy(found.kernel), -1, -2).reshape(9, 4, 5)
    kernel = found.pointwise_kernel if layer == "separable" else found.kernel
    return to_numpy(kernel).reshape(-1, *kernel.shape[-2:])


def expected_blocks(model, layer):
    """Blocks in the order of their groups, as weights."""
    conv1, conv2 = [[0, 3], [1], [2]], [[1, 4], [0], [2, 3]]
    three = [[0], [1], [2]]
    places = [[3 * p + c for p in range(4)] for c in range(3)]  # flattened, channel last
    ends = {"conv2": (conv1, conv2), "separable": (conv2, three), "logits": (places, three)}
    rows, columns = ends[layer]
    kernel = matrix(model, layer)
    pairs = [(i, j) for i in range(3) for j in range(3) if i != j]
    return [kernel[:, rows[i]][:, :, columns[j]] for i, j in pairs]


def test_norms_are_those_of_the_blocks():
    model = network()
    found = {g.name: g for g in blocks(model)}
    assert set(found) == {"conv2", "separable", "logits"}  # every device has the images
    weights = {v.path: v for v in model.variables}
    for name, groups in found.items():
        expected = [np.sqrt((w.astype("float64") ** 2).sum()) for w in expected_blocks(model, name)]
        np.testing.assert_allclose(to_numpy(group_norms(groups, weights)), expected, rtol=1e-6)
        sizes = [w.size for w in expected_blocks(model, name)]
        assert groups.sizes().tolist() == sizes


def test_the_step_is_the_closed_form_and_the_diagonal_stays():
    model = network()
    weights = {v.path: v for v in model.variables}
    for groups in blocks(model):
        before = matrix(model, groups.name)
        norms = [np.linalg.norm(w) for w in expected_blocks(model, groups.name)]
        amount = float(np.median(norms))
        own = sum(np.linalg.norm(w) ** 2 for w in expected_blocks(model, groups.name))
        inside = np.linalg.norm(before) ** 2 - own
        for path, value in proximal_step(groups, weights, amount).items():
            weights[path].assign(value)
        for norm, after in zip(norms, expected_blocks(model, groups.name), strict=True):
            if norm <= amount:
                assert not after.any()
            else:
                assert np.linalg.norm(after) == pytest.approx(norm - amount, rel=1e-4)
        after = sum(np.linalg.norm(w) ** 2 for w in expected_blocks(model, groups.name))
        now = np.linalg.norm(matrix(model, groups.name)) ** 2 - after
        assert now == pytest.approx(inside, rel=1e-5)  # float32


def test_the_gradient_of_a_block_has_the_norm_of_the_strength():
    model = network()
    groups = next(g for g in blocks(model) if g.name == "logits")
    kernel = model.get_layer("logits").kernel
    weights = {kernel.path: to_numpy(kernel)}
    found = gradients(lambda values: penalty(groups, values, 0.5), weights)[kernel.path]
    places = [[3 * p + c for p in range(4)] for c in range(3)]
    assert np.linalg.norm(found[places[0]][:, 1]) == pytest.approx(0.5, rel=1e-5)
    assert not found[places[1], 1].any()


def test_training_leaves_no_block_and_the_zeros_are_exact():
    model = network()
    plan = sn.SparsityPlan(blocks=2.0, num_devices=3, placement=PLACEMENT)
    sparse = sn.sparse_model(model, plan)
    sparse.compile(sn.SGD(0.1, after_step=sn.step_of(sparse, plan)), sn.CrossEntropy())
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(8, 4, 4, 2)).astype("float32"), np.arange(8) % 3
    assert float(sparse.losses[0]) > 0
    sparse.fit(x, y, epochs=12, verbose=0)
    for layer in ("conv2", "separable", "logits"):
        assert not any(w.any() for w in expected_blocks(sparse, layer))
        assert matrix(sparse, layer).any()
    before, after = bytes_crossing(sparse, plan.devices(sparse))
    assert after == 2 * 4 < before  # the logits of two devices


def test_wrong_plans_are_refused():
    with pytest.raises(ArgumentError, match="`blocks` and `num_devices` need each other"):
        sn.SparsityPlan(blocks=1.0)
    with pytest.raises(ArgumentError, match="`blocks` and `num_devices` need each other"):
        sn.SparsityPlan(spaces=1.0, num_devices=2)
    with pytest.raises(ArgumentError, match="`placement` needs `blocks`"):
        sn.SparsityPlan(spaces=1.0, placement=PLACEMENT)
    with pytest.raises(ArgumentError, match="`target_bytes` needs `blocks`"):
        sn.SparsityRecipe(spaces=1.0, target_bytes=0.5)
    plan = sn.SparsityPlan(blocks={"conv1": 1.0}, num_devices=2)
    with pytest.raises(ArgumentError, match="'conv1' has no such groups: its inputs or its out"):
        plan.terms(network())
    with pytest.raises(ArgumentError, match="`blocks` needs `devices`"):
        structure_groups(network(), "blocks")
