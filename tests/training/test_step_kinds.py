"""Steps of every kind: optimizers, sample weights, several outputs, half precision."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

import splitnet_tf as sn
from splitnet_tf.errors import ArgumentError
from splitnet_tf.grouping import split_losses
from splitnet_tf.recipe import SGD, AdamW, BinaryCrossEntropy, CrossEntropy, HeadLosses
from splitnet_tf.training import TrainStep
from tests.recipe.test_optimizers import KINDS, RATE, Shrink, shrunk

RNG = np.random.default_rng(0)
IMAGES = RNG.normal(size=(6, 5)).astype("float32")
LABELS = np.array([0, 3, 1, 1, 2, 3], "int32")
SEVERAL = (RNG.random((6, 4)) < 0.4).astype("float32")
WEIGHTS = np.array([1.0, 0.0, 2.0, 0.5, 1.0, 3.0], "float32")


def linear(**more):
    keras.utils.set_random_seed(0)
    inputs = keras.Input((5,))
    return keras.Model(inputs, layers.Dense(4, name="one", **more)(inputs))


def two_heads(as_dict=False):
    inputs = keras.Input((5,))
    heads = {"one": layers.Dense(4, name="one")(inputs), "two": layers.Dense(4, name="two")(inputs)}
    return keras.Model(inputs, heads if as_dict else list(heads.values()))


def softmax(x):
    e = np.exp(x - x.max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)


def kernel_gradient(kernel, bias, weights):
    error = softmax(IMAGES.astype("float64") @ kernel + bias) - np.eye(4)[LABELS]
    return IMAGES.T @ (error * weights[:, None]) / 6


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_a_step_is_the_optimizers_with_its_pace_and_the_step_after_the_step(kind, weighted):
    make, expected = KINDS[kind]
    model = linear()
    kernel, bias = model.get_weights()
    paces = {id(model.trainable_variables[0]): 2.0}
    step = TrainStep(model, CrossEntropy(), make(paces=paces, after_step=Shrink()))
    weights = WEIGHTS if weighted else np.ones(6)
    found = step(IMAGES, LABELS, RATE, WEIGHTS if weighted else None)
    gradient = kernel_gradient(kernel, bias, weights)
    value = expected(kernel, [gradient], 2.0, shrunk)
    np.testing.assert_allclose(model.get_weights()[0], value, rtol=1e-4, atol=1e-5)
    p = softmax(IMAGES @ kernel + bias)
    losses = -np.log(p[np.arange(6), LABELS])
    assert float(found["cross_entropy"]) == pytest.approx(np.mean(losses * weights), rel=1e-5)
    assert float(found["accuracy"]) == pytest.approx(np.mean(p.argmax(axis=1) == LABELS))


@pytest.mark.parametrize("kind", KINDS)
def test_a_step_in_float16_scales_the_loss_and_leaves_out_what_overflows(kind):
    """L2 and the step after the step are those of float32."""
    make, expected = KINDS[kind]
    model = linear(dtype="mixed_float16")
    kernel, bias = model.get_weights()
    step = TrainStep(model, CrossEntropy(), make(after_step=Shrink()), l2=0.1)
    assert type(step.optimizer) is keras.optimizers.LossScaleOptimizer
    found = step(IMAGES, LABELS, RATE)
    gradient = kernel_gradient(kernel, bias, np.ones(6)) + 0.1 * kernel
    value = expected(kernel, [gradient], 1.0, shrunk)
    np.testing.assert_allclose(model.get_weights()[0], value, rtol=2e-2, atol=2e-3)
    assert np.abs(model.get_weights()[0] - kernel).max() > 0.02
    scale = step.optimizer.dynamic_scale
    before, scale_before = model.get_weights(), float(scale)
    found = step(IMAGES * 100, LABELS, RATE, np.full(6, 1e4, "float32"))
    assert float(found["gradients"]) == 0 and np.isfinite(float(found["cross_entropy"]))
    assert float(scale) == scale_before / 2
    for one, other in zip(model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(one, other)
    assert any(v is scale for v in step.variables)


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"])
def test_a_grouped_model_under_a_global_policy_trains(policy):
    keras.utils.set_random_seed(0)
    keras.config.set_dtype_policy(policy)
    try:
        model = sn.models.wide_resnet(10, 1, 4, (8, 8, 3))
        grouped = sn.group_model(model, [("unit_3_0", 2)], seed=0)
    finally:
        keras.config.set_dtype_policy("float32")
    step = TrainStep(grouped, CrossEntropy(), SGD(0.0, momentum=0.9), l2=1e-3)
    images = RNG.normal(size=(16, 8, 8, 3)).astype("float32")
    labels = np.arange(16, dtype="int32") % 4
    assignments = [a.logits.numpy() for a in split_losses(grouped).assignments()]
    found = [step(images, labels, 0.05) for _ in range(8)]
    values = [{name: float(v) for name, v in f.items()} for f in found]
    assert values[-1]["cross_entropy"] < 0.8 * values[0]["cross_entropy"]
    assert all(np.isfinite(list(v.values())).all() for v in values)
    assert {v.dtype for f in found for v in f.values()} == {tf.float32}
    # Of assignments and kernels in float32: no rounding to half precision.
    terms = list(split_losses(grouped).terms().values())
    after = step(images, labels, 0.0)
    for i, (gamma, least) in enumerate(((1, 0), (1, 0), (10, 1))):
        added = gamma * (float(terms[i]) - least)
        assert float(after[f"model_loss_{i}"]) == pytest.approx(added, rel=1e-6, abs=2e-6)
    moved = [a.logits.numpy() for a in split_losses(grouped).assignments()]
    assert all(np.abs(m - a).max() > 1e-5 for m, a in zip(moved, assignments, strict=True))


@pytest.mark.parametrize("as_dict", [True, False])
def test_several_outputs_train_by_the_sum_of_their_losses(as_dict):
    model, reference = two_heads(as_dict), linear()
    loss = HeadLosses({"one": CrossEntropy(), "two": BinaryCrossEntropy()}, main="one")
    model.get_layer("one").set_weights(reference.get_weights())
    second = model.get_layer("two").get_weights()
    y = {"one": LABELS, "two": SEVERAL} if as_dict else [LABELS, SEVERAL]
    found = TrainStep(model, loss, SGD(0.0))(IMAGES, y, 0.1, WEIGHTS)
    alone = TrainStep(reference, CrossEntropy(), SGD(0.0))(IMAGES, LABELS, 0.1, WEIGHTS)
    assert float(found["accuracy"]) == float(alone["accuracy"])
    binary = BinaryCrossEntropy()(SEVERAL, IMAGES @ second[0] + second[1], WEIGHTS)
    total = float(alone["cross_entropy"]) + float(binary)
    assert float(found["cross_entropy"]) == pytest.approx(total, rel=1e-5)
    heads = model.get_layer("one").get_weights(), reference.get_weights()
    for one, other in zip(*heads, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-7)
    error = (1 / (1 + np.exp(-(IMAGES @ second[0] + second[1]))) - SEVERAL) * WEIGHTS[:, None]
    value = second[0] - 0.1 * IMAGES.T @ error / 24
    np.testing.assert_allclose(model.get_layer("two").get_weights()[0], value, rtol=1e-4, atol=1e-6)


def test_an_optimizer_with_a_schedule_is_refused():
    schedule = keras.optimizers.schedules.CosineDecay(0.1, 10)
    with pytest.raises(ArgumentError, match="`optimizer` has a learning rate of its own"):
        TrainStep(linear(), CrossEntropy(), SGD(schedule))


def test_averaged_weights_are_what_a_step_ends_with():
    model = linear()
    step = TrainStep(model, CrossEntropy(), AdamW(0.0, use_ema=True, ema_momentum=0.5))
    seen = []
    for _ in range(3):
        step(IMAGES, LABELS, 0.1)
        seen.append(model.get_weights()[0])
    average = 2 / 11 * seen[0] + 9 / 11 * seen[1]
    average = 3 / 12 * average + 9 / 12 * seen[2]
    with step.averaged():
        np.testing.assert_allclose(model.get_weights()[0], average, rtol=1e-5)
    np.testing.assert_array_equal(model.get_weights()[0], seen[2])
    assert step.finish()
    np.testing.assert_allclose(model.get_weights()[0], average, rtol=1e-5)
    assert not TrainStep(model, CrossEntropy(), SGD(0.0)).finish()
