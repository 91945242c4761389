"""The printed difference, its JSON form, and its counts against those of the shrunk model."""

import json
import math

import keras
import numpy as np
from keras import layers

import splitnet_tf as sn
from splitnet_tf.sparsity import (
    apply_selection,
    predict_changes,
    random_selection,
    shrink_model,
)
from tests.conftest import scramble, small_alexnet
from tests.sparsity.zeros import set_zero


def shrunk_alexnet():
    model = scramble(small_alexnet())
    apply_selection(model, random_selection(model, 0.5, seed=1))
    set_zero(model.get_layer("conv2").kernel, (0, ...))
    return model, shrink_model(model)


def test_counts_are_those_of_the_models():
    """FLOPs are two a multiply-add, and a dense layer counts its bias."""
    model, shrunk = shrunk_alexnet()
    for after, counted in ((False, sn.cost(model)), (True, sn.cost(shrunk.model))):
        kernels = {k.layer: k for k in shrunk.changes.kernels}
        for row in counted.layers:
            bias = (
                0
                if row.kind == "Conv2D"
                else (shrunk.model if after else model).get_layer(row.name).units
            )
            assert row.params == kernels[row.name].weights(after) + bias
            assert row.flops == 2 * kernels[row.name].multiply_adds(after) + bias
        total = sum(row.flops for row in counted.layers if row.kind == "Conv2D") // 2
        found = [k.multiply_adds(after) for k in shrunk.changes.kernels if k.kind == "Conv2D"]
        assert sum(found) == total


def test_the_table():
    _, shrunk = shrunk_alexnet()
    lines = str(shrunk.changes).splitlines()
    assert lines[0].split() == [
        "layer", "kernel", "before", "after", "weights", "multiply-adds", "zeros", "left"
    ]  # fmt: skip
    assert lines[2].split() == [
        "conv2", "3x3x6x7", "2x3x3x4", "72", "(19.0%)", "1,800", "(19.0%)"
    ]  # fmt: skip
    assert lines[-1].startswith("all") and len(lines) == 7


def test_the_document():
    _, shrunk = shrunk_alexnet()
    document = json.loads(json.dumps(shrunk.changes.to_json()))
    conv2 = document["kernels"][1]
    assert conv2["before"] == [3, 3, 6, 7] and conv2["after"] == [2, 3, 3, 4]
    assert conv2["weights_before"] == 378 and conv2["weights_after"] == 72
    assert document["weights_after"] == sum(k["weights_after"] for k in document["kernels"])
    assert document["left"] == []


def test_layers_that_go():
    from tests.sparsity.test_selection import blocks

    model = blocks()
    set_zero(model.get_layer("b2").kernel, ...)
    set_zero(model.get_layer("a2").kernel, (..., 1))
    changes = shrink_model(model).changes
    lines = str(changes).splitlines()
    assert "gone" in lines[4].split() and "gone" in lines[5].split()
    assert lines[3].endswith("1 filters")
    assert changes.kernels[4].multiply_adds(True) == 0
    assert np.isclose(changes.total("weights", True), sum(k.weights(True) for k in changes.kernels))


def test_transposed_convolutions_count():
    """Each weight acts at every position of the input."""
    inputs = keras.Input((6, 6, 3))
    x = layers.Conv2D(8, 3, name="c1")(inputs)
    x = layers.Conv2DTranspose(10, 3, strides=2, name="up")(x)
    x = layers.Flatten()(layers.Conv2D(4, 3, name="c2")(x))
    model = keras.Model(inputs, layers.Dense(2, name="logits", use_bias=False)(x))
    keras.utils.set_random_seed(1)
    apply_selection(model, random_selection(model, 0.5, seed=1))
    shrunk = shrink_model(model)
    images = np.random.default_rng(0).normal(size=(2, 6, 6, 3)).astype("float32")
    np.testing.assert_allclose(shrunk.model(images), model(images), rtol=1e-4, atol=1e-5)
    up = next(k for k in shrunk.changes.kernels if k.layer == "up")
    assert up.before == (3, 3, 10, 8) and up.after == (3, 3, 5, 4) and up.places == 4 * 4
    for after, of in ((False, model), (True, shrunk.model)):
        kernels = [layer.kernel for layer in of.layers if hasattr(layer, "kernel")]
        assert shrunk.changes.total("weights", after) == sum(math.prod(k.shape) for k in kernels)
        assert 2 * shrunk.changes.total("multiply_adds", after) == sn.cost(of).flops


def test_layers_along_another_axis_count_as_well():
    """As those of an MLP-mixer: what stays whole is part of all there is."""
    inputs = keras.Input((6, 4))
    x = layers.Permute((2, 1))(layers.Dense(8, name="embed")(inputs))
    x = layers.Permute((2, 1))(layers.Dense(6, name="mix")(x))
    x = layers.EinsumDense("abc,bd->adc", (6, 8), name="einsum")(x)
    x = layers.Dense(3, name="logits")(layers.GlobalAveragePooling1D()(x))
    found = predict_changes(keras.Model(inputs, x))
    counted = {k.layer: (k.weights(False), k.multiply_adds(False)) for k in found.kernels}
    assert counted == {
        "embed": (32, 32 * 6),
        "mix": (36, 36 * 8),
        "einsum": (36, 36 * 8),
        "logits": (24, 24),
    }
    assert found.totals("multiply_adds") == (792, 792)
