"""A classifier without its softmax: against the softmax in NumPy."""

import keras
import numpy as np
import pytest
from keras import layers, ops

import splitnet_tf as sn
from tests.conftest import scramble, to_numpy


def classifier(end, **settings):
    inputs = keras.Input((6,))
    x = layers.Dense(4, name="logits", **settings)(inputs)
    return scramble(keras.Model(inputs, end(x), name="net"))


def softmax(x):
    e = np.exp(x - x.max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)


@pytest.mark.parametrize(
    "end, activation",
    [
        (layers.Softmax(), None),
        (ops.softmax, None),
        (layers.Activation("softmax"), None),
        (lambda x: x, "softmax"),
    ],
)
def test_a_softmax_is_taken_off(end, activation):
    model = classifier(end, activation=activation)
    x = np.random.default_rng(0).normal(size=(3, 6)).astype("float32")
    logits = to_numpy(sn.logits_model(model)(x))
    assert np.ptp(logits.sum(axis=1)) > 1e-3
    np.testing.assert_allclose(softmax(logits), to_numpy(model(x)), rtol=1e-5)


@pytest.mark.parametrize(
    "end",
    [lambda x: x, layers.Identity(), layers.Activation("linear"), lambda x: ops.cast(x, "float32")],
)
def test_logits_are_left_as_they_are(end):
    model = classifier(end)
    assert sn.logits_model(model) is model
    assert sn.logits_model(model, multi_label=True) is model


@pytest.mark.parametrize("apart", [False, True])
def test_the_sigmoid_of_several_labels_is_taken_off(apart):
    inputs = x = keras.Input((5,))
    x = layers.Dense(4, activation=None if apart else "sigmoid", name="last")(x)
    model = keras.Model(inputs, layers.Activation("sigmoid")(x) if apart else x)
    given = np.random.default_rng(0).normal(size=(3, 5)).astype("float32")
    wanted = to_numpy(model(given))
    found = sn.logits_model(model, multi_label=True)
    logits = to_numpy(found(given))
    np.testing.assert_allclose(1 / (1 + np.exp(-logits)), wanted, atol=1e-6)
    np.testing.assert_array_equal(to_numpy(model(given)), wanted)  # left as it was
    softmax = keras.Model(inputs, layers.Softmax()(x))
    with pytest.raises(sn.PlanError, match="ends in 'Softmax'; a classifier of several labels"):
        sn.logits_model(softmax, multi_label=True)


@pytest.mark.parametrize(
    "end, name",
    [
        (ops.sigmoid, "Sigmoid"),
        (ops.relu, "Relu"),
        (ops.log_softmax, "LogSoftmax"),
        (layers.ReLU(), "ReLU"),
        (layers.LeakyReLU(), "LeakyReLU"),
        (layers.PReLU(), "PReLU"),
        (layers.Activation("sigmoid"), "sigmoid"),
    ],
)
def test_another_function_at_the_end_is_named(end, name):
    with pytest.raises(sn.PlanError, match=f"Model 'net' ends in '{name}'; a classifier of one"):
        sn.logits_model(classifier(end))
