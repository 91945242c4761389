"""Other ways to use several devices: exact, and counted by hand."""

import itertools

import keras
import numpy as np
import pytest
from keras import layers

import splitnet_tf as sn
from splitnet_tf.benchmarks.baselines import (
    blocks_in_sequence,
    consecutive_parts,
    data_parallel,
    layers_side_by_side,
)
from splitnet_tf.errors import PlacementError
from splitnet_tf.parallel.stream import stream
from tests.conftest import scramble

pytestmark = pytest.mark.skipif(
    keras.backend.backend() != "tensorflow", reason="placement is TensorFlow's"
)
DEVICES = ["/CPU:0", "/CPU:1", "/CPU:2"]
WAYS = {
    "data parallel": data_parallel,
    "blocks in sequence": blocks_in_sequence,
    "layers side by side": layers_side_by_side,
}


@pytest.fixture(scope="module")
def model():
    return scramble(sn.models.wide_resnet(10, 1, 10, (8, 8, 3)))


@pytest.mark.parametrize("count", [1, 2, 3])
@pytest.mark.parametrize("way", WAYS)
def test_each_way_computes_what_the_model_computes(model, way, count):
    placed = WAYS[way](model, DEVICES[:count])
    batches = [
        np.random.default_rng(b).normal(size=(b, 8, 8, 3)).astype("float32") for b in (7, 3, 12)
    ]
    for x, found in zip(batches, stream(placed, batches), strict=True):
        expected = model(x, training=False).numpy()
        assert np.abs(found.numpy() - expected).max() < 1e-5 * np.abs(expected).max()
    assert sum(placed.flops) == pytest.approx(sn.cost(model).flops)
    # An operation of each device is in the graph.
    graph = placed.function.get_concrete_function().graph
    used = {op.device for op in graph.get_operations()}
    assert all(any(d[1:] in u for u in used) for d in DEVICES[:count])


def test_the_slowest_part_has_the_fewest_flops_that_it_can():
    """Against every choice of cuts of a chain, where each layer is a place to cut."""
    widths = [5, 40, 7, 30, 30, 2, 50, 10]
    x = inputs = keras.Input((6,))
    for i, width in enumerate(widths):
        x = layers.Dense(width, use_bias=False, name=f"d{i}")(x)
    model = keras.Model(inputs, x)
    flops = [2 * a * b for a, b in zip([6, *widths], widths, strict=False)]
    for count in (2, 3, 4):
        parts = consecutive_parts(model, count)
        best = min(
            max(sum(flops[a:b]) for a, b in itertools.pairwise((0, *cuts, len(flops))))
            for cuts in itertools.combinations(range(1, len(flops)), count - 1)
        )
        assert max(sn.cost(p).flops for p in parts) == best
        y = x = np.random.default_rng(0).normal(size=(3, 6)).astype("float32")
        for part in parts:
            y = part(y)
        np.testing.assert_allclose(np.asarray(y), np.asarray(model(x)), rtol=1e-5, atol=1e-5)


def test_bytes_that_cross():
    x = inputs = keras.Input((8, 8, 3))
    x = layers.Conv2D(4, 3, padding="same", name="a")(x)  # 8 * 8 * 4 floats
    x = layers.ReLU()(x)
    x = layers.Conv2D(6, 3, strides=2, padding="same", name="b")(x)  # 4 * 4 * 6 floats
    x = layers.GlobalAveragePooling2D()(x)
    model = keras.Model(inputs, layers.Dense(3, name="c")(x))
    assert layers_side_by_side(model, DEVICES[:2]).bytes_crossing == 4 * (8 * 8 * 4 + 6)
    assert layers_side_by_side(model, DEVICES).bytes_crossing == 2 * 4 * (8 * 8 * 4 + 6)
    assert data_parallel(model, DEVICES).bytes_crossing == 0
    # 2 * 64 * 27 * 4 FLOPs in a, 2 * 16 * 36 * 6 in b: the cut is somewhere between the two.
    assert blocks_in_sequence(model, DEVICES[:2]).bytes_crossing == 4 * 8 * 8 * 4


@pytest.mark.parametrize("way", WAYS)
def test_in_bfloat16(way):
    """Near what the model computes, and half of the bytes cross."""
    inputs = keras.Input((8, 8, 3))
    x = layers.Conv2D(4, 3, padding="same", name="a")(inputs)
    x = layers.BatchNormalization()(x)
    x = layers.GlobalAveragePooling2D()(layers.ReLU()(x))
    model = scramble(keras.Model(inputs, layers.Dense(3, name="c")(x)))
    exact, found = (WAYS[way](model, DEVICES[:2], bfloat16=b) for b in (False, True))
    images = np.random.default_rng(0).normal(size=(4, 8, 8, 3)).astype("float32")
    wanted, made = model(images).numpy(), found(images).numpy()
    assert made.dtype == "float32"
    assert 1e-5 < np.abs(made - wanted).max() / np.abs(wanted).max() < 0.03
    assert 2 * found.bytes_crossing == exact.bytes_crossing


def test_layers_before_the_first_kernel_are_spread_too():
    inputs = keras.Input((8, 8, 3))
    x = layers.ZeroPadding2D(1)(layers.BatchNormalization(name="norm")(inputs))
    x = layers.Conv2D(4, 3, activation="relu", name="a")(x)
    x = layers.GlobalAveragePooling2D()(x)
    model = scramble(keras.Model(inputs, layers.Dense(5, name="logits")(x)))
    images = np.random.default_rng(0).normal(size=(4, 8, 8, 3)).astype("float32")
    found = layers_side_by_side(model, DEVICES[:2])(images).numpy()
    np.testing.assert_allclose(found, model(images).numpy(), rtol=1e-5, atol=1e-5)


def test_what_cannot_be_spread_is_named():
    x = inputs = keras.Input((8,))
    a = layers.Dense(4)(x)
    b = layers.Dense(4)(x)
    model = keras.Model(inputs, layers.Concatenate(name="both")([a, b]))
    with pytest.raises(PlacementError, match="'both' .Concatenate. cannot be computed side by"):
        layers_side_by_side(model, DEVICES[:2])
    with pytest.raises(PlacementError, match="cannot be cut into 3 parts"):
        blocks_in_sequence(keras.Model(inputs, a), DEVICES)
    soft = keras.Model(inputs, layers.Activation("softmax", name="soft")(a))
    with pytest.raises(PlacementError, match="'soft'"):
        layers_side_by_side(soft, DEVICES[:2])
