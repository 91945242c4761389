"""Random layers in copies: off unless a model is called with ``training=True``."""

import logging
import subprocess
import sys

import keras
import numpy as np
import pytest
from keras import layers

import splitnet_tf as sn
from splitnet_tf.graph.keras_reader import read_graph
from splitnet_tf.sparsity import shrink_model
from tests.conftest import random_grouping, scramble, to_numpy

X = np.random.default_rng(0).normal(size=(4, 6, 6, 3)).astype("float32")
SECTIONS = [("b", 2), ("logits", 2)]


def augmented():
    """Layers that Keras calls with ``training=True`` of itself, and some called so on purpose."""
    inputs = keras.Input((6, 6, 3))
    x = layers.RandomFlip("horizontal", seed=1)(inputs)
    x = keras.Sequential([layers.RandomRotation(0.2, seed=2), layers.GaussianNoise(0.5)])(x)
    x = layers.Pipeline([layers.RandomTranslation(0.2, 0.2, seed=3)])(x)
    x = layers.Conv2D(6, 3, activation="relu", name="a")(x)
    x = layers.GaussianNoise(0.5, name="noise")(x, training=True)
    x = layers.Conv2D(8, 3, activation="relu", name="b")(x)
    x = layers.BatchNormalization()(x)
    x = layers.GlobalAveragePooling2D()(x)
    x = layers.Dropout(0.5, name="monte_carlo")(x, training=True)
    return scramble(keras.Model(inputs, layers.Dense(6, name="logits")(x), name="augmented"))


def split_of(model):
    plan = sn.SplitPlan.from_sections(model, SECTIONS)
    return sn.split_model(model, random_grouping(plan, np.random.default_rng(0)), plan)


COPIES = {
    "plain_copy": sn.plain_copy,
    "group_model": lambda model: sn.group_model(model, SECTIONS),
    "split_model": lambda model: split_of(model).model,
    "split_model of a grouped model": lambda model: split_of(sn.group_model(model, SECTIONS)).model,
    "shrink_model": lambda model: shrink_model(model).model,
}


def differ(model, **mode):
    return bool(np.any(to_numpy(model(X, **mode)) != to_numpy(model(X, **mode))))


@pytest.mark.parametrize("name", COPIES)
def test_copies_are_random_only_when_they_train(name):
    model = augmented()
    assert differ(model)  # as Keras has it
    made = COPIES[name](model)
    assert not differ(made) and not differ(made, training=False)
    np.testing.assert_array_equal(made(X), made(X, training=False))
    if "split" not in name:
        np.testing.assert_allclose(made(X), model(X, training=False), rtol=1e-5, atol=1e-5)
    assert differ(made, training=True)


def test_nodes_are_random_only_when_they_train():
    tree = split_of(augmented())
    read = {None: [X]}
    for node in tree.nodes():
        feeds = [read[f.source][f.index] for f in node.feeds]
        feeds = feeds if len(feeds) > 1 else feeds[0]
        found = [keras.tree.flatten(node.model(feeds)) for _ in range(2)]
        for a, b in zip(*found, strict=True):
            np.testing.assert_array_equal(a, b)
        read[node.name] = found[0]
    np.testing.assert_allclose(read["head"][0], tree.model(X, training=False), atol=1e-5)


def test_fit_still_augments():
    tree = split_of(augmented())
    tree.model.compile(keras.optimizers.SGD(0.0), "mse")
    losses = tree.model.fit(X, np.zeros((4, 6)), epochs=3, verbose=0).history["loss"]
    assert len(set(losses)) == 3
    assert len({tree.model.evaluate(X, np.zeros((4, 6)), verbose=0) for _ in range(2)}) == 1


@pytest.mark.parametrize("layer", ["LSTM", "Bidirectional", "attention"])
def test_random_layers_inside_layers(layer):
    inputs = keras.Input((5, 6))
    if layer == "LSTM":
        x = layers.LSTM(4, dropout=0.5)(inputs, training=True)
    elif layer == "Bidirectional":
        x = layers.Bidirectional(layers.GRU(4, dropout=0.5))(inputs, training=True)
    else:
        x = layers.MultiHeadAttention(2, 3, dropout=0.5)(inputs, inputs, training=True)
        x = layers.Flatten()(x)
    model = keras.Model(inputs, layers.Dense(4, name="logits")(x))
    x = np.random.default_rng(0).normal(size=(8, 5, 6)).astype("float32")
    copy = sn.plain_copy(model)
    assert np.any(to_numpy(model(x)) != to_numpy(model(x)))
    np.testing.assert_array_equal(copy(x), copy(x))
    np.testing.assert_allclose(copy(x), model(x, training=False), rtol=1e-5, atol=1e-6)
    assert np.any(to_numpy(copy(x, training=True)) != to_numpy(copy(x, training=True)))


@pytest.mark.parametrize("outer", [None, False, True])
@pytest.mark.parametrize("inner", [None, False, True])
def test_the_mode_of_a_nested_model_goes_before_that_of_its_layers(outer, inner):
    """Batch norms, which are not random, are called as Keras calls them."""
    images = keras.Input((6, 6, 3))
    norm = layers.BatchNormalization()
    x = norm(images) if inner is None else norm(images, training=inner)
    nested = keras.Model(images, x)
    images = keras.Input((6, 6, 3))
    x = nested(images) if outer is None else nested(images, training=outer)
    model = keras.Model(images, layers.Dense(4, name="logits")(layers.Flatten()(x)))
    copy = sn.plain_copy(model)
    np.testing.assert_allclose(copy(X), model(X), rtol=1e-5, atol=1e-5)


def test_what_was_random_on_purpose_is_named_once(caplog):
    with caplog.at_level(logging.WARNING):
        grouped = sn.group_model(augmented(), SECTIONS)
        split_of(grouped)
    (sentence,) = (m for m in caplog.messages if "training=True" in m)
    assert "with training=True: noise, monte_carlo. In the new model 'augmented'" in sentence
    assert read_graph(grouped).silenced == ()


LOADER = """
import keras, numpy, tensorflow as tf

x = numpy.load("x.npy", allow_pickle=False)
model, served = keras.models.load_model("out/tree.keras"), tf.saved_model.load("out/tree")
numpy.save("found.npy", [numpy.array(f(x)) for f in (model, model, served.serve, served.serve)])
"""


@pytest.mark.slow
def test_files_answer_the_same_twice(tmp_path):
    if keras.backend.backend() != "tensorflow":
        pytest.skip("exports are made with TensorFlow")
    tree = split_of(augmented())
    sn.export_tree(tree, tmp_path / "out", ["keras", "saved_model"], check=False)
    np.save(tmp_path / "x.npy", X)
    subprocess.run([sys.executable, "-c", LOADER], check=True, cwd=tmp_path)
    wanted = to_numpy(tree.model(X, training=False))
    found = np.load(tmp_path / "found.npy", allow_pickle=False)
    np.testing.assert_array_equal(found[::2], found[1::2])
    for answer in found[::2]:
        np.testing.assert_allclose(answer, wanted, rtol=1e-5, atol=1e-5)
