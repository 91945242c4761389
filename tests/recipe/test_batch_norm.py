"""Batch-norm statistics re-estimated: against means taken by hand."""

import keras
import numpy as np
import pytest
from keras import layers

import splitnet_tf as sn
from tests.conftest import to_numpy


def net():
    inputs = keras.Input((4,))
    x = layers.Dense(5, name="a")(inputs)
    x = layers.BatchNormalization(name="bn")(x)
    inner_in = keras.Input((5,))
    y = layers.Dropout(0.5, name="drop")(inner_in)
    y = layers.BatchNormalization(name="inner_bn")(layers.Dense(3, name="b")(y))
    return keras.Model(inputs, keras.Model(inner_in, y, name="inner")(x))


def test_statistics_are_the_means_over_batches():
    model = net()
    rng = np.random.default_rng(0)
    batches = [rng.normal(1, 2, (16, 4)).astype("float32") for _ in range(5)]
    weights = {layer.name: layer.get_weights() for layer in model.layers if layer.weights}
    assert sn.recalibrate_batch_norm(model, batches) == 5
    dense = model.get_layer("a")
    outputs = [to_numpy(dense(b)) for b in batches]
    bn = model.get_layer("bn")
    np.testing.assert_allclose(
        bn.moving_mean, np.mean([o.mean(axis=0) for o in outputs], axis=0), rtol=1e-4, atol=1e-5
    )
    np.testing.assert_allclose(
        bn.moving_variance, np.mean([o.var(axis=0) for o in outputs], axis=0), rtol=1e-4
    )
    np.testing.assert_array_equal(dense.kernel, weights["a"][0])
    assert bn.momentum == 0.99
    # The norm in the nested model saw what the first one gives in training, dropout off.
    inner = model.get_layer("inner")
    normed = [(o - o.mean(axis=0)) / np.sqrt(o.var(axis=0) + bn.epsilon) for o in outputs]
    expected = np.mean([to_numpy(inner.get_layer("b")(n)).mean(axis=0) for n in normed], axis=0)
    np.testing.assert_allclose(
        inner.get_layer("inner_bn").moving_mean, expected, rtol=1e-3, atol=1e-5
    )
    assert inner.get_layer("drop").rate == 0.5


class Batches(keras.utils.PyDataset):
    """Batches that give empty arrays beyond their end, as slices do."""

    def __init__(self, x):
        super().__init__()
        self.x = x

    def __len__(self):
        return len(self.x) // 16

    def __getitem__(self, k):
        return self.x[16 * k : 16 * (k + 1)], np.zeros(16)


def test_data_as_fit_takes_them():
    x = np.random.default_rng(0).normal(1, 2, (80, 4)).astype("float32")
    model, rows = net(), [x[k : k + 16] for k in range(0, 80, 16)]
    found = []
    for data in (rows, [(row, np.zeros(16)) for row in rows], Batches(x)):
        assert sn.recalibrate_batch_norm(model, data) == 5
        found.append(model.get_weights())
    assert sn.recalibrate_batch_norm(model, (x, np.zeros(80)), batch_size=16) == 5
    for others in (*found[1:], model.get_weights()):
        for wanted, other in zip(found[0], others, strict=True):
            np.testing.assert_array_equal(other, wanted)
    assert sn.recalibrate_batch_norm(model, (x,), 2, batch_size=16) == 2
    assert sn.recalibrate_batch_norm(model, x, batch_size=16) == 5
    for wanted, other in zip(found[0], model.get_weights(), strict=True):
        np.testing.assert_array_equal(other, wanted)


def test_a_tree_and_inputs_by_name():
    inputs = keras.Input((4,), name="image")
    x = layers.BatchNormalization(name="bn")(layers.Dense(6, name="a")(inputs))
    net = keras.Model({"image": inputs}, layers.Dense(4, name="logits")(x))
    plan = sn.SplitPlan.from_sections(net, [("logits", 2)])
    tree = sn.split_model(net, sn.Grouping.even(plan), plan)
    x = np.random.default_rng(0).normal(1, 2, (80, 4)).astype("float32")
    assert sn.recalibrate_batch_norm(tree, {"image": x}, batch_size=16) == 5
    assert sn.recalibrate_batch_norm(net, {"image": x}, batch_size=16) == 5
    found = [v for v in tree.model.variables if v.name == "moving_mean"]
    assert len(found) == 1
    np.testing.assert_allclose(found[0], net.get_layer("bn").moving_mean, rtol=1e-5)


def test_frozen_norms_keep_their_statistics_as_in_fit(caplog):
    batches = [np.random.default_rng(0).normal(1, 2, (16, 4)).astype("float32")]
    model, free = net(), net()
    free.set_weights(model.get_weights())
    model.get_layer("inner").trainable = False
    before = [v.trainable for v in model.variables]
    inner = [to_numpy(v) for v in model.get_layer("inner").weights]
    with caplog.at_level("INFO"):
        assert sn.recalibrate_batch_norm(model, batches) == 1
        sn.recalibrate_batch_norm(free, batches)
    assert caplog.messages == ["1 of 2 batch norms are frozen and keep their statistics: inner_bn."]
    for found, wanted in zip(model.get_layer("inner").weights, inner, strict=True):
        np.testing.assert_array_equal(to_numpy(found), wanted)
    for name in ("moving_mean", "moving_variance"):
        found, wanted = (to_numpy(getattr(m.get_layer("bn"), name)) for m in (model, free))
        np.testing.assert_array_equal(found, wanted)
    assert [v.trainable for v in model.variables] == before
    model.compile("sgd", "mse")
    model.fit(batches[0], np.zeros((16, 3)), verbose=0)
    for found, wanted in zip(model.get_layer("inner").weights, inner, strict=True):
        np.testing.assert_array_equal(to_numpy(found), wanted)
    model.trainable = False
    assert sn.recalibrate_batch_norm(model, batches) == 0


def test_settings_are_put_back_after_an_error():
    model = net()
    before = [w.numpy() for w in model.variables]

    def broken():
        yield np.ones((2, 4), "float32")
        raise OSError("gone")

    with pytest.raises(OSError):
        sn.recalibrate_batch_norm(model, broken())
    assert model.get_layer("bn").momentum == 0.99
    assert model.get_layer("inner").get_layer("drop").rate == 0.5
    for found, wanted in zip(model.variables, before, strict=True):
        np.testing.assert_array_equal(found.numpy(), wanted)
