"""Training with a penalty: in ``fit`` and step by step, against NumPy."""

import keras
import numpy as np
import pytest
from keras import layers, ops

import splitnet_tf as sn
from splitnet_tf import models
from splitnet_tf.errors import ArgumentError
from splitnet_tf.recipe import CrossEntropy
from splitnet_tf.recipe.optimizers import SGD, AdamW, paced
from splitnet_tf.sparsity import (
    SparsityPlan,
    apply_selection,
    group_norms,
    keep_zeros,
    random_selection,
    select_by_norms,
    sparse_model,
    step_of,
    structure_groups,
)
from tests.conftest import scramble, small_alexnet, to_numpy
from tests.sparsity import slow_loops
from tests.sparsity.gradients import gradients
from tests.sparsity.zeros import settle

RATE = 0.1


def linear(inputs=5, units=4):
    """x -> x W + b -> logits, with weights that are all different."""
    return settle(sn.models.mlp((units,), num_classes=3, input_shape=(inputs,)), 1)


def weights(model):
    return {v.path: to_numpy(v.value) for v in model.trainable_variables}


def batch(model, count=8, seed=0):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(count, *model.input_shape[1:])).astype("float32")
    return x, rng.normal(size=(count, *model.output_shape[1:])).astype("float32")


def slow_penalty(model, plan):
    values = weights(model)
    return sum(
        float(np.sum(t.strengths * slow_loops.norms(t.groups, values))) for t in plan.terms(model)
    )


PLANS = {
    "spaces": SparsityPlan(spaces=0.02),
    "two": SparsityPlan(filters=0.02, shapes={"conv2": 0.03}, factor="sqrt_size"),
    "subgradient": SparsityPlan(channels=0.02, update="subgradient"),
}


@pytest.mark.parametrize("plan", PLANS.values(), ids=PLANS)
def test_the_model_computes_what_it_did_and_reports_its_penalty(plan):
    model = scramble(small_alexnet())
    sparse = sparse_model(model, plan)
    x, _ = batch(model)
    np.testing.assert_array_equal(to_numpy(sparse(x)), to_numpy(model(x)))
    assert model.losses == [] and len(sparse.losses) == 1
    np.testing.assert_allclose(float(sparse.losses[0]), slow_penalty(sparse, plan), rtol=1e-5)
    again = keras.Model.from_config(sparse.get_config())
    assert again.losses == []  # a saved model is a plain one


def test_a_regularizer_of_the_model_stays():
    inputs = keras.Input((3,))
    x = layers.Dense(4, name="a", kernel_regularizer=keras.regularizers.L2(0.5))(inputs)
    model = keras.Model(inputs, layers.Dense(2, name="b")(x))
    plan = SparsityPlan(filters=0.1)
    sparse = sparse_model(model, plan)
    own = 0.5 * np.square(to_numpy(model.get_layer("a").kernel)).sum()
    (total,) = sparse.losses
    np.testing.assert_allclose(float(total), own + slow_penalty(sparse, plan), rtol=1e-5)


def plain_step(model, x, y, more=None):
    """Weights after one step of SGD on the mean squared error (and more), by path."""
    copy = sn.plain_copy(model)
    copy.compile(keras.optimizers.SGD(RATE), "mean_squared_error")
    copy.fit(x, y, batch_size=len(x), verbose=0)
    return weights(copy)


@pytest.mark.parametrize("name", ["spaces", "two"])
def test_a_proximal_step_in_fit(name):
    plan = PLANS[name]
    model = scramble(small_alexnet(num_classes=3, channels=3))
    x, y = batch(model, 4)
    model.get_layer("drop").rate = 0.0
    expected = plain_step(model, x, y)
    sparse = sparse_model(model, plan)
    for term in plan.terms(sparse):
        expected |= slow_loops.proximal(term.groups, expected, RATE * term.strengths)
    sparse.compile(SGD(RATE, after_step=step_of(sparse, plan)), "mean_squared_error")
    before = float(sparse.losses[0])
    history = sparse.fit(x, y, batch_size=4, verbose=0)
    error = float(np.mean(np.square(to_numpy(model(x, training=True)) - y)))
    np.testing.assert_allclose(history.history["loss"][0], error + before, rtol=1e-4)
    for path, value in weights(sparse).items():
        np.testing.assert_allclose(value, expected[path], rtol=1e-4, atol=1e-5)


def test_a_subgradient_step_in_fit():
    plan = SparsityPlan(channels={"fc1": 0.3}, update="subgradient", threshold=0.05)
    model = linear()
    x, y = batch(model)
    expected = plain_step(model, x, y)
    sparse = sparse_model(model, plan)
    (term,) = plan.terms(sparse)
    pulls = gradients(
        lambda v: ops.sum(term.strengths * group_norms(term.groups, v)), weights(sparse)
    )
    kernel = expected["fc1/kernel"] - RATE * pulls["fc1/kernel"]
    expected["fc1/kernel"] = np.where(np.abs(kernel) < 0.05, 0, kernel)
    assert (expected["fc1/kernel"] == 0).any() and (expected["fc1/kernel"] != 0).any()
    sparse.compile(SGD(RATE, after_step=step_of(sparse, plan)), "mean_squared_error")
    sparse.fit(x, y, batch_size=len(x), verbose=0)
    for path, value in weights(sparse).items():
        np.testing.assert_allclose(value, expected[path], rtol=1e-4, atol=1e-5)


def test_strength_can_be_ramped_and_is_kept_with_the_optimizer(tmp_path):
    plan = SparsityPlan(spaces=100.0)
    sparse = sparse_model(linear(), plan)
    x, y = batch(sparse)
    step = step_of(sparse, plan)
    step.strength.assign(0.0)
    sparse.compile(SGD(RATE, after_step=step), "mean_squared_error")
    sparse.fit(x, y, batch_size=len(x), verbose=0)
    assert all((w != 0).all() for w in weights(sparse).values())
    assert any(v is step.strength for v in sparse.optimizer.variables)
    step.strength.assign(0.5)
    sparse.save(tmp_path / "sparse.keras")
    loaded = keras.models.load_model(tmp_path / "sparse.keras")
    assert loaded.losses == []
    (found,) = (v for v in loaded.optimizer.variables if v.path == step.strength.path)
    assert float(found) == 0.5
    loaded.fit(x, y, batch_size=len(x), verbose=0)
    kernel = to_numpy(loaded.get_layer("fc1").kernel)
    assert (kernel == 0).all()  # 0.1 x 0.5 x 100 is more than any norm


@pytest.mark.parametrize("kind", ["sgd", "adamw", "another of Keras"])
def test_groups_without_use_become_zero_and_stay(kind):
    """Two of five inputs are always off: their rows must go, and not come back with noise."""
    model = linear()
    plan = SparsityPlan(channels={"fc1": 0.2})
    sparse = sparse_model(model, plan)
    rng = np.random.default_rng(1)
    x = rng.normal(size=(256, 5)).astype("float32")
    off = x * [1, 1, 1, 0, 0]
    y = np.tanh(x[:, :3]) @ rng.normal(size=(3, 3)).astype("float32")
    make = {"sgd": SGD, "adamw": AdamW, "another of Keras": paced(keras.optimizers.RMSprop)}[kind]
    rate = 0.1 if kind == "sgd" else 0.02
    step = step_of(sparse, plan)
    sparse.compile(make(rate, after_step=step), "mean_squared_error")
    step.strength.assign(1.0 if kind == "sgd" else 4.0)
    sparse.fit(off, y, epochs=25, batch_size=64, verbose=0)
    kernel = to_numpy(sparse.get_layer("fc1").kernel)
    assert (kernel[3:] == 0).all() and (kernel[:3] != 0).any(axis=1).all()
    sparse.compile(make(rate, after_step=keep_zeros(sparse)), "mean_squared_error")
    sparse.fit(x, y + x[:, 3:4], epochs=3, batch_size=64, verbose=0)
    after = to_numpy(sparse.get_layer("fc1").kernel)
    assert (after[3:] == 0).all() and not np.array_equal(after[:3], kernel[:3])


def test_only_groups_that_are_zero_are_held():
    model = scramble(small_alexnet())
    assert keep_zeros(model) is None
    layer = model.get_layer("conv2")
    kernel = to_numpy(layer.kernel).copy()
    kernel[..., 2] = 0  # a filter
    kernel[0, 1, 3, :] = 0  # a shape
    kernel[1, 1, 4, 5] = 0  # a single weight, which is no group
    layer.kernel.assign(kernel)
    step = keep_zeros(model, ["filters", "shapes"])
    assert sorted((t.groups.structure, t.groups.name) for t in step.terms) == [
        ("filters", "conv2"),
        ("shapes", "conv2"),
    ]
    for v in model.trainable_variables:
        v.assign_add(ops.ones(v.shape))
    step(model.trainable_variables, 0.1)
    found = to_numpy(layer.kernel)
    expected = kernel + 1
    expected[..., 2] = 0
    expected[0, 1, 3, :] = 0
    np.testing.assert_allclose(found, expected, rtol=1e-6)
    again = type(step).from_config(step.get_config())
    for v in model.trainable_variables:
        v.assign_add(ops.ones(v.shape))
    again(model.trainable_variables, 0.1)
    assert (to_numpy(layer.kernel)[..., 2] == 0).all()
    assert (to_numpy(layer.kernel)[1, 1, 4, 5] != 0).all()


def test_single_zeros_are_held_and_a_saved_optimizer_holds_them(tmp_path):
    model = scramble(models.mlp((8, 6), 3, (5,)))
    kernels = [model.get_layer(name).kernel for name in ("fc1", "fc2")]
    zero = [np.random.default_rng(i).random(k.shape) < 0.3 for i, k in enumerate(kernels)]
    zero[0][:, 3] = True  # a filter as well
    for kernel, dead in zip(kernels, zero, strict=True):
        kernel.assign(np.where(dead, 0, to_numpy(kernel)))
    step = keep_zeros(model)
    assert list(step.masks) == ["fc1/kernel", "fc2/kernel"]  # the logits have no zero
    x, y = np.random.default_rng(2).normal(size=(64, 5)), np.arange(64) % 3
    model.compile(SGD(0.1, momentum=0.9, after_step=step), CrossEntropy())
    model.fit(x, y, epochs=2, verbose=0)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    loaded.fit(x, y, epochs=2, verbose=0)
    for found in (model, loaded):
        for name, dead in zip(("fc1", "fc2"), zero, strict=True):
            np.testing.assert_array_equal(to_numpy(found.get_layer(name).kernel) == 0, dead)


def test_weights_of_one_path_are_refused():
    """Two towers made by one function: both have the weight ``conv/kernel``."""
    inputs, towers = keras.Input((4,)), []
    for name in ("left", "right"):
        x = keras.Input((4,))
        towers.append(keras.Model(x, layers.Dense(3, name="conv")(x), name=name))
    x = layers.Concatenate()([tower(inputs) for tower in towers])
    model = scramble(keras.Model(inputs, layers.Dense(2, name="logits")(x)))
    for act in (
        lambda: keep_zeros(model),
        lambda: apply_selection(model, random_selection(model)),
        lambda: step_of(model, SparsityPlan(filters=0.1))(model.trainable_variables, 0.1),
    ):
        with pytest.raises(ArgumentError, match=r"`model` has two weights 'conv/kernel'.*plain_c"):
            act()
    kernel = towers[0].get_layer("conv").kernel
    kernel.assign(to_numpy(kernel) * [1, 1, 1e-3])
    kernel = towers[1].get_layer("conv").kernel
    kernel.assign(to_numpy(kernel) * [1e-3, 1, 1])
    found = select_by_norms(model, keep=0.67)
    assert found.space("left_conv").indices == (0, 1)
    assert found.space("right_conv").indices == (1, 2)


def test_steps_for_another_model():
    plan = SparsityPlan(spaces=1.0)
    step = step_of(linear(), plan)
    with pytest.raises(ArgumentError, match="the optimizer trains no weights 'fc1/kernel'"):
        step([keras.Variable(np.ones(3), name="other")], 0.1)


def test_float32_under_bfloat16():
    """Steps too small for bfloat16 add up."""
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        plan = SparsityPlan(spaces=1e-3)
        sparse = sparse_model(linear(), plan)
        sparse.compile(SGD(0.0, after_step=step_of(sparse, plan)), "mean_squared_error")
    finally:
        keras.config.set_dtype_policy("float32")
    sparse.optimizer.learning_rate.assign(RATE)
    groups = structure_groups(sparse, "spaces")[0]
    norms = slow_loops.norms(groups, weights(sparse))
    zeros = [ops.zeros(v.shape) for v in sparse.trainable_variables]
    for _ in range(10):
        sparse.optimizer.apply(zeros, sparse.trainable_variables)
    after = slow_loops.norms(groups, weights(sparse))
    np.testing.assert_allclose(after, norms - 10 * RATE * 1e-3, rtol=1e-5)
    assert keras.backend.standardize_dtype(sparse.losses[0].dtype) == "float32"
