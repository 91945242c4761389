"""Keras' own tools take a tree and leave its answers; docs/ is measured by the same steps."""

import keras
import numpy as np
import pytest
from keras import layers

import splitnet_tf as sn
from splitnet_tf.splitting import SplitTree
from tests.after_split import (
    answers,
    answers_of_nodes,
    apart,
    clone,
    exported,
    fitted,
    quantized,
    reloaded,
    with_lora,
)
from tests.conftest import random_grouping, scramble, to_numpy

X = np.random.default_rng(1).normal(size=(32, 8, 8, 3)).astype("float32")
Y = np.arange(32) % 6


@pytest.fixture(scope="module")
def tree():
    """Convolutions, batch norm and dense, cut in two."""
    inputs = keras.Input((8, 8, 3))
    x = layers.Conv2D(8, 3, padding="same", use_bias=False, name="a")(inputs)
    x = layers.ReLU()(layers.BatchNormalization()(x))
    x = layers.Conv2D(12, 3, activation="relu", name="b")(x)
    x = layers.Dense(32, activation="relu", name="fc")(layers.GlobalAveragePooling2D()(x))
    model = scramble(keras.Model(inputs, layers.Dense(6, name="logits")(x), name="small"))
    plan = sn.SplitPlan.from_sections(model, [("b", 2)])
    return sn.split_model(model, random_grouping(plan, np.random.default_rng(0)), plan)


def test_clone_model(tree):
    made = clone(tree)
    assert [n.name for n in made.nodes()] == [n.name for n in tree.nodes()]
    np.testing.assert_array_equal(answers(made, X), answers(tree, X))
    made.model.set_weights([w + 1 for w in made.model.get_weights()])
    assert apart(answers(made, X), answers(tree, X)) > 0.1  # weights of its own


def test_quantize(tree):
    made = quantized(tree)
    assert 0 < apart(answers(made, X), answers(tree, X)) < 0.05
    kernels = [w for w in made.model.weights if w.path.endswith("kernel") and w.dtype == "int8"]
    assert len(kernels) == 4  # of two dense layers in each of two branches
    loaded, _ = reloaded(made)
    np.testing.assert_array_equal(answers(loaded, X), answers(made, X))
    np.testing.assert_allclose(answers_of_nodes(made, X), answers(made, X), atol=1e-5)


def test_enable_lora(tree):
    made = with_lora(tree)
    np.testing.assert_array_equal(answers(made, X), answers(tree, X))
    fitted(made, X, Y)
    assert apart(answers(made, X), answers(tree, X)) > 1e-4
    for old, new in zip(tree.nodes(), made.nodes(), strict=True):
        for a, b in zip(old.model.layers, new.model.layers, strict=True):
            if isinstance(a, layers.Dense):
                np.testing.assert_array_equal(to_numpy(a._kernel), to_numpy(b._kernel))
    loaded, _ = reloaded(made)
    np.testing.assert_allclose(answers(loaded, X), answers(made, X), rtol=1e-5, atol=1e-5)


def test_fit(tree):
    made = fitted(clone(tree), X, Y)
    assert apart(answers(made, X), answers(tree, X)) > 1e-4
    np.testing.assert_allclose(answers_of_nodes(made, X), answers(made, X), rtol=1e-5, atol=1e-5)


def test_keras_files(tree):
    loaded, _ = reloaded(tree)
    np.testing.assert_array_equal(answers(loaded, X), answers(tree, X))


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="exports need TensorFlow")
@pytest.mark.slow
@pytest.mark.parametrize("step", [quantized, with_lora])
def test_exports_after_it(tree, step):
    distance, size = exported(step(tree), "onnx", X)
    assert distance < 1e-5 and size > 0


def test_the_compiled_function(tree):
    made = SplitTree(clone(tree).model)
    forward = made.compiled()
    np.testing.assert_allclose(forward(X), answers(tree, X), rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(made.compiled(jit_compile=True)(X[:3]), forward(X)[:3], atol=1e-5)
    assert made.compiled() is forward and not made.model.compiled
    made.model.set_weights([w + 0.1 for w in made.model.get_weights()])
    np.testing.assert_allclose(forward(X), answers(made, X), rtol=1e-5, atol=1e-5)
    made.model.quantize("int8")
    again = made.compiled()
    assert again is not forward
    np.testing.assert_allclose(again(X), answers(made, X), rtol=1e-5, atol=1e-5)
