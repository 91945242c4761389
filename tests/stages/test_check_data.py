"""Data that do not fit the model or the loss: a sentence before the first step."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import splitnet_tf as sn
from splitnet_tf.data.feeds import feed_of
from splitnet_tf.data.mixing import mixed
from splitnet_tf.stages.check_data import check_data
from splitnet_tf.stages.costs import cost_on

X = np.random.default_rng(3).normal(size=(12, 4, 4, 1)).astype("float32")
Y = np.arange(12) % 3
ONE_HOT = np.eye(3, dtype="float32")[Y]
SOFT = 0.7 * ONE_HOT + 0.1


@pytest.fixture(scope="module")
def model():
    return sn.models.mlp((5,), num_classes=3, input_shape=(4, 4, 1))


def single(*arrays):
    return tf.data.Dataset.from_tensor_slices(arrays)


def several(x, y, weights=None):
    """A data set of batches."""
    return single(x, y).batch(4) if weights is None else single(x, y, weights).batch(4)


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        ((X[:, :3], Y), r"`train` has examples of shape \(3, 4, 1\), but .* takes \(4, 4, 1\)"),
        (several(X[:, :3], Y), r"`train` has examples of shape \(3, 4, 1\)"),
        (single(X, Y), r"single examples of shape \(4, 4, 1\).*call batch\(n\)"),
        (single(X, ONE_HOT), r"single examples of shape \(4, 4, 1\)"),
        (single(X).batch(4), r"must give batches \(x, y\)"),
        ((X, 2 * ONE_HOT), "image 0 has labels from 0 to 2 that sum to 2; pass `loss=sn.Binary"),
        ((X, -ONE_HOT), "`train` has labels .* that sum to -1"),
        (several(X, 1 - ONE_HOT), "that sum to 2; pass `loss=sn.BinaryCrossEntropy"),
        (several(X, ONE_HOT * np.nan), "that sum to nan"),
    ],
)
def test_data_that_do_not_fit(model, data, sentence):
    with pytest.raises(sn.ArgumentError, match=sentence):
        check_data(model, sn.CrossEntropy(), train=feed_of(data, 4), valid=feed_of((X, Y)))


@pytest.mark.parametrize(
    "data",
    [
        (X, Y),
        (X[..., 0], Y[:, None]),  # Keras adds the last axis
        (X, ONE_HOT.astype("int32")),
        several(X, SOFT),
        several(X, ONE_HOT * (Y > 0)[:, None], Y),  # rows of weight 0 are padding
    ],
)
def test_data_that_fit(model, data):
    feed = feed_of(data, 4, class_weight={1: 2.0})
    for phase in (sn.Phase(), sn.Phase(mixup=0.2)):
        changed = mixed(feed, phase, model, 0)
        check_data(model, sn.TaughtCrossEntropy(), train=changed, valid=feed, test=None)


def test_labels_of_several_classes_and_outputs(model):
    inputs = keras.Input((4, 4, 1))
    x = keras.layers.Flatten()(inputs)
    both = keras.Model(inputs, {name: keras.layers.Dense(3)(x) for name in ("kind", "tags")})
    loss = sn.HeadLosses({"kind": sn.CrossEntropy(), "tags": sn.BinaryCrossEntropy()}, "kind")
    check_data(both, loss, train=feed_of((X, {"kind": ONE_HOT, "tags": 1 - ONE_HOT})))
    with pytest.raises(sn.ArgumentError, match="`train` has labels .* that sum to 2"):
        check_data(both, loss, train=feed_of((X, {"kind": 1 - ONE_HOT, "tags": ONE_HOT})))
    check_data(model, sn.BinaryCrossEntropy(), train=feed_of((X, 1 - ONE_HOT)))


def test_a_recipe_of_another_kind_is_refused(model):
    data = (X, Y)
    for recipe in (sn.SparsityPlan(spaces=0.1), sn.Phase(), None):
        with pytest.raises(sn.ArgumentError, match="`recipe` must be a SparsityRecipe; got"):
            sn.sparsify(model, data, data, recipe)
    with pytest.raises(sn.ArgumentError, match="`phase` must be a Phase; got NoneType"):
        sn.finetune(model, data, data, None)


def open_size():
    inputs = keras.Input((None, None, 1))
    x = keras.layers.Conv2D(4, 2, name="conv")(inputs)
    x = keras.layers.GlobalAveragePooling2D()(x)
    return keras.Model(inputs, keras.layers.Dense(3, name="logits")(x))


def test_a_model_of_open_input_size_is_counted_at_the_size_of_the_data():
    model = open_size()
    flops = 2 * 3 * 2 * 4 * 4 + 2 * 4 * 3 + 3  # a 2x2 kernel at 2x3 places of 3x4 pixels
    for data in ((X[:, :3], Y), (X[:, :3, :, 0], Y), several(X[:, :3], Y)):
        assert cost_on(model, feed_of(data)).flops == flops
    assert sn.evaluate_model(model, (X[:, :3], Y)).flops == flops


@pytest.mark.slow
def test_a_model_of_open_input_size_is_shrunk():
    model, data = open_size(), (X[:, :3], Y)
    chosen = sn.sparsity.select_by_norms(model, keep=0.5)
    loop = sn.Loop(max_steps=1)
    found = sn.shrink(
        model, data, data, data, sn.Phase(), selection=chosen, loop=loop, batch_size=4
    )
    assert found.result.flops["after"] == 2 * 3 * 2 * 4 * 2 + 2 * 2 * 3 + 3
