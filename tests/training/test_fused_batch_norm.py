"""Fused batch norm: the same numbers as the Keras layer."""

import contextlib

import keras
import numpy as np
import pytest
import tensorflow as tf

from splitnet_tf.training.fused_batch_norm import fused_batch_norms
from tests.conftest import scramble


def norm_net(scale=True, center=True, trainable=True):
    inputs = keras.Input((6, 5, 3))
    x = keras.layers.Conv2D(4, 3)(inputs)
    x = keras.layers.BatchNormalization(
        momentum=0.7, epsilon=1e-3, scale=scale, center=center, trainable=trainable, name="norm"
    )(x)
    x = keras.layers.Dense(5)(keras.layers.Flatten()(keras.layers.ReLU()(x)))
    return keras.Model(inputs, keras.layers.BatchNormalization()(x))


@pytest.mark.parametrize("scale", [True, False])
@pytest.mark.parametrize("center", [True, False])
@pytest.mark.parametrize("trainable", [True, False])
@pytest.mark.parametrize("batch", [1, 8])
def test_outputs_gradients_and_statistics_are_the_layers(scale, center, trainable, batch):
    model = norm_net(scale, center, trainable)
    scramble(model, seed=1)
    images = np.random.default_rng(0).normal(size=(batch, 6, 5, 3)).astype("float32")
    start = [v.numpy() for v in model.variables]

    def run(context):
        for variable, value in zip(model.variables, start, strict=True):
            variable.assign(value)

        @tf.function
        def step():
            with tf.GradientTape() as tape, context(model):
                loss = tf.reduce_sum(model(images, training=True) ** 3)
            return loss, tape.gradient(loss, [v.value for v in model.trainable_variables])

        loss, gradients = step()
        ops = {op.type for op in step.get_concrete_function().graph.get_operations()}
        return [loss, *gradients, *[v.numpy() for v in model.non_trainable_variables]], ops

    expected, stock_ops = run(lambda model: contextlib.nullcontext())
    fused, fused_ops = run(fused_batch_norms)
    assert "FusedBatchNormV3" not in stock_ops
    assert "FusedBatchNormV3" in fused_ops
    for ours, theirs in zip(fused, expected, strict=True):
        tolerance = 2e-4 * max(1.0, np.abs(theirs).max())
        np.testing.assert_allclose(ours, theirs, rtol=2e-4, atol=tolerance)


def test_bfloat16_is_normalized_in_float32():
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        inputs = keras.Input((6, 5, 3))
        model = keras.Model(inputs, keras.layers.BatchNormalization(momentum=0.7)(inputs))
    finally:
        keras.config.set_dtype_policy("float32")
    scramble(model, seed=1)
    # Far from zero: a mean taken in bfloat16 would be off by hundredths.
    images = np.random.default_rng(0).normal(5.0, 2.0, size=(64, 6, 5, 3))
    images = tf.cast(images, "bfloat16")
    values = tf.cast(images, "float32").numpy()
    mean, variance = values.mean((0, 1, 2)), values.var((0, 1, 2))
    gamma, beta, moving_mean, moving_variance = (v.numpy() for v in model.variables)
    normal = (values - mean) / np.sqrt(variance + 1e-3)

    @tf.function
    def step():
        with fused_batch_norms(model):
            return model(images, training=True)

    outputs = step()
    ops = [op.type for op in step.get_concrete_function().graph.get_operations()]
    assert ops.count("FusedBatchNormV3") == 1
    assert outputs.dtype == tf.bfloat16
    np.testing.assert_allclose(tf.cast(outputs, "float32"), gamma * normal + beta, atol=0.03)
    moved = [v.numpy() for v in model.non_trainable_variables]
    np.testing.assert_allclose(moved[0], 0.7 * moving_mean + 0.3 * mean, rtol=1e-5)
    np.testing.assert_allclose(moved[1], 0.7 * moving_variance + 0.3 * variance, rtol=1e-4)


def test_the_model_is_left_as_it_was():
    model = norm_net()
    with pytest.raises(RuntimeError), fused_batch_norms(model):
        assert "call" in model.get_layer("norm").__dict__
        raise RuntimeError
    assert "call" not in model.get_layer("norm").__dict__


@pytest.mark.parametrize("scale", [True, False])
@pytest.mark.parametrize("center", [True, False])
def test_inference_is_the_layers(scale, center):
    model = scramble(norm_net(scale, center), seed=2)
    images = np.random.default_rng(0).normal(size=(4, 6, 5, 3)).astype("float32")
    expected = model(images, training=False).numpy()
    before = [v.numpy() for v in model.variables]

    @tf.function
    def forward():
        with fused_batch_norms(model):
            return model(images, training=False)

    np.testing.assert_allclose(forward().numpy(), expected, rtol=1e-5, atol=1e-5)
    ops = [op.type for op in forward.get_concrete_function().graph.get_operations()]
    assert ops.count("FusedBatchNormV3") == 1  # not that of the last layer, of rank 2
    for variable, value in zip(model.variables, before, strict=True):
        np.testing.assert_array_equal(variable.numpy(), value)
