"""Losses against SciPy, alone, in ``fit`` and through a file."""

import keras
import numpy as np
import pytest
from keras import layers
from scipy.special import expit, log_softmax

from splitnet_tf.errors import ArgumentError
from splitnet_tf.recipe.losses import (
    BinaryCrossEntropy,
    CrossEntropy,
    HeadLosses,
    by_output,
    for_compile,
    loss_for,
)
from tests.conftest import to_numpy

RNG = np.random.default_rng(0)
LOGITS = 3 * RNG.normal(size=(6, 4)).astype("float32")
LABELS = np.array([0, 3, 1, 1, 2, 3])
SEVERAL = (RNG.random((6, 4)) < 0.4).astype("int32")
WEIGHTS = np.array([1.0, 0.0, 2.0, 0.5, 1.0, 3.0], "float32")


def cross_entropies(smoothing=0.0):
    targets = np.eye(4)[LABELS] * (1 - smoothing) + smoothing / 4
    return -np.sum(targets * log_softmax(LOGITS.astype("float64"), axis=1), axis=1)


def binary_cross_entropies(smoothing=0.0):
    targets, p = SEVERAL * (1 - smoothing) + smoothing / 2, expit(LOGITS.astype("float64"))
    return -np.mean(targets * np.log(p) + (1 - targets) * np.log(1 - p), axis=1)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize(
    "labels",
    [LABELS, LABELS[:, None].astype("uint8"), np.eye(4)[LABELS], np.eye(4, dtype="int32")[LABELS]],
    ids=["numbers", "column", "one-hot", "integers one-hot"],
)
def test_cross_entropy(labels, smoothing):
    loss = CrossEntropy(smoothing)
    expected = cross_entropies(smoothing)
    np.testing.assert_allclose(loss(labels, LOGITS), expected.mean(), rtol=1e-5)
    weighted = np.sum(expected * WEIGHTS) / 6
    np.testing.assert_allclose(loss(labels, LOGITS, WEIGHTS), weighted, rtol=1e-5)
    np.testing.assert_array_equal(loss.accuracy(labels, LOGITS), LOGITS.argmax(1) == LABELS)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_binary_cross_entropy(smoothing):
    loss = BinaryCrossEntropy(smoothing)
    expected = binary_cross_entropies(smoothing)
    np.testing.assert_allclose(loss(SEVERAL, LOGITS), expected.mean(), rtol=1e-5)
    weighted = np.sum(expected * WEIGHTS) / 6
    np.testing.assert_allclose(loss(SEVERAL, LOGITS, WEIGHTS), weighted, rtol=1e-5)
    right = np.mean((LOGITS > 0) == SEVERAL, axis=1)
    assert 0 < right.mean() < 1
    np.testing.assert_allclose(loss.accuracy(SEVERAL, LOGITS), right)


def test_one_class_alone_may_have_plain_labels():
    found = BinaryCrossEntropy()(SEVERAL[:, 0], LOGITS[:, :1])
    np.testing.assert_allclose(found, BinaryCrossEntropy()(SEVERAL[:, :1], LOGITS[:, :1]))


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_half_precision_logits_have_a_loss_in_full_precision(dtype):
    logits = keras.ops.cast(LOGITS, dtype)
    for loss, labels in ((CrossEntropy(), LABELS), (BinaryCrossEntropy(), SEVERAL)):
        found = loss(labels, logits)
        assert keras.backend.standardize_dtype(found.dtype) == "float32"
        exact = loss(labels, to_numpy(keras.ops.cast(logits, "float32")))
        np.testing.assert_array_equal(found, exact)


def test_labels_that_do_not_fit_are_refused():
    with pytest.raises(ArgumentError, match=r"one-hot \(B, 4\) .* the shape \(6, 3\)"):
        CrossEntropy()(np.eye(3)[[0, 1, 2, 0, 1, 2]], LOGITS)
    with pytest.raises(ArgumentError, match=r"shape \(B, 4\); got \(6,\)"):
        BinaryCrossEntropy()(LABELS, LOGITS)
    for smoothing in (1.0, -0.1, float("nan")):
        with pytest.raises(ArgumentError, match="`label_smoothing` must be from 0 to below 1"):
            CrossEntropy(smoothing)


@pytest.mark.parametrize("kind", [CrossEntropy, BinaryCrossEntropy])
def test_settings_survive_saving(kind):
    loss = kind(0.2, name="own", reduction="sum")
    again = keras.losses.deserialize(keras.losses.serialize(loss))
    assert type(again) is kind and again.get_config() == loss.get_config()


def two_heads(as_dict):
    keras.utils.set_random_seed(0)
    inputs = keras.Input((5,))
    heads = {"one": layers.Dense(4, name="one")(inputs), "two": layers.Dense(4, name="two")(inputs)}
    return keras.Model(inputs, heads if as_dict else list(heads.values()))


@pytest.mark.parametrize("as_dict", [True, False])
def test_several_outputs_add_up_and_fit_does_the_same(as_dict):
    model = two_heads(as_dict)
    images = RNG.normal(size=(6, 5)).astype("float32")
    loss = HeadLosses({"two": BinaryCrossEntropy(), "one": CrossEntropy(0.1)}, main="one")
    labels = {"one": LABELS, "two": SEVERAL}
    outputs = by_output(model(images), ["one", "two"])
    separate = [loss.losses[name](labels[name], outputs[name], WEIGHTS) for name in labels]
    np.testing.assert_allclose(loss(labels, outputs, WEIGHTS), float(sum(separate)), rtol=1e-6)
    by_head = loss(labels, outputs, {"one": WEIGHTS})
    unweighted = loss.losses["two"](SEVERAL, outputs["two"])
    np.testing.assert_allclose(by_head, float(separate[0] + unweighted), rtol=1e-6)
    right = to_numpy(outputs["one"]).argmax(1) == LABELS
    np.testing.assert_array_equal(loss.accuracy(labels, outputs), right)
    assert not loss.multi_label
    model.compile("sgd", for_compile(loss, model))
    y = labels if as_dict else [LABELS, SEVERAL]
    found = model.evaluate(images, y, verbose=0, return_dict=True)["loss"]
    np.testing.assert_allclose(found, float(loss(labels, outputs)), rtol=1e-6)


def test_the_loss_of_a_model():
    inputs = keras.Input((5,))
    loss = loss_for(keras.Model(inputs, layers.Dense(3)(inputs)), 0.1)
    assert type(loss) is CrossEntropy and loss.label_smoothing == 0.1
    assert for_compile(loss, None) is loss
    for as_dict in (True, False):
        heads = loss_for(two_heads(as_dict), multi_label=True, main="two")
        assert list(heads.losses) == ["one", "two"] and heads.main == "two" and heads.multi_label
        assert loss_for(two_heads(as_dict)).main == "one"


def test_a_main_output_without_accuracy_is_refused():
    for losses in ({"one": keras.losses.MeanSquaredError()}, {"two": CrossEntropy()}):
        with pytest.raises(ArgumentError, match="`main` must name an output .* got 'one' of"):
            HeadLosses(losses, "one")
    with pytest.raises(ArgumentError, match="for the outputs one, two; got ndarray"):
        by_output(LABELS, ["one", "two"])
