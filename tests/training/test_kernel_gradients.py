"""Gradients of kernels as matrix products: those of TensorFlow's operation."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from splitnet_tf.recipe import SGD, CrossEntropy
from splitnet_tf.training import TrainStep
from splitnet_tf.training.kernel_gradients import fits, kernel_gradient


@pytest.mark.parametrize("padding", ["SAME", "VALID"])
@pytest.mark.parametrize("strides", [(1, 1), (2, 2), (1, 3)])
@pytest.mark.parametrize("window", [(3, 3), (1, 1), (2, 3)])
@pytest.mark.parametrize("size", [(8, 8), (7, 6)])
def test_the_gradient_of_a_kernel(padding, strides, window, size):
    rng = np.random.default_rng(0)
    x = tf.constant(rng.normal(size=(2, *size, 4)), tf.float32)
    w = tf.constant(rng.normal(size=(*window, 4, 5)), tf.float32)
    with tf.GradientTape() as tape:
        tape.watch(w)
        made = tf.nn.conv2d(x, w, strides, padding)
    above = tf.constant(rng.normal(size=made.shape), tf.float32)
    wanted = tape.gradient(made, w, output_gradients=above)
    found = kernel_gradient(x, above, window, strides, padding)
    np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("bfloat16", [False, True])
def test_a_step_takes_them_in_bfloat16_alone(bfloat16):
    """Of the wide convolution, not of the narrow one; the step is near that in float32."""
    keras.utils.set_random_seed(0)
    inputs = keras.Input((6, 6, 3))
    x = keras.layers.Conv2D(128, 3, name="narrow")(inputs)
    x = keras.layers.Conv2D(128, 3, strides=2, padding="same", name="wide")(x)
    model = keras.Model(inputs, keras.layers.GlobalAveragePooling2D()(x))
    start = [w.copy() for w in model.get_weights()]
    rng = np.random.default_rng(1)
    batch = rng.normal(size=(8, 6, 6, 3)).astype("float32"), np.arange(8, dtype="int32")
    step = TrainStep(model, CrossEntropy(), SGD(0.1, momentum=0.9), bfloat16=bfloat16)
    step(*batch, 0.1)
    moved = [a - b for a, b in zip(model.get_weights(), start, strict=True)]
    kinds = [op.type for op in step.graph(*batch).get_operations()]
    assert kinds.count("Conv2DBackpropFilter") == (1 if bfloat16 else 2)
    assert kinds.count("MatMul") == (9 if bfloat16 else 0)
    model.set_weights(start)
    with tf.GradientTape() as tape:
        loss = CrossEntropy()(batch[1], model(batch[0], training=True))
    for found, wanted in zip(moved, tape.gradient(loss, model.trainable_variables), strict=True):
        wanted = -0.1 * wanted.numpy()
        assert np.abs(found - wanted).max() < (0.05 if bfloat16 else 1e-4) * np.abs(wanted).max()


def test_products_are_for_many_channels_at_few_positions():
    def taken(channels, size, strides=1, dtype=tf.bfloat16):
        layer = keras.layers.Conv2D(channels, 3, strides=strides, padding="same")
        return fits(layer, tf.zeros((1, size, size, channels), dtype))

    assert taken(512, 16) and taken(256, 8) and taken(128, 32, strides=2)
    assert not any((taken(256, 16), taken(128, 8), taken(512, 32), taken(64, 2), taken(128, 64, 2)))
    assert not taken(512, 8, dtype=tf.float32)


def test_odd_batches_of_few_channels():
    """TensorFlow's operation writes beyond its memory here, and the process dies."""
    keras.utils.set_random_seed(0)
    inputs = keras.Input((8, 8, 8))
    x = keras.layers.Conv2D(16, 1, strides=2, padding="same", name="point")(inputs)
    model = keras.Model(inputs, keras.layers.GlobalAveragePooling2D()(x))
    batch = np.ones((3, 8, 8, 8), "float32"), np.arange(3, dtype="int32")
    step = TrainStep(model, CrossEntropy(), SGD(0.1, momentum=0.9))
    assert np.isfinite(float(step(*batch, 0.1)["cross_entropy"]))
    kinds = [op.type for op in step.graph(*batch).get_operations()]
    assert "Conv2DBackpropFilter" not in kinds and "MatMul" in kinds
