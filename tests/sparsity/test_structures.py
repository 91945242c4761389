"""Groups of every structure, written down by hand and found by slow loops."""

import itertools

import keras
import numpy as np
import pytest
from keras import layers

import splitnet_tf as sn
from splitnet_tf.errors import ArgumentError
from splitnet_tf.graph import place_channels
from splitnet_tf.sparsity import STRUCTURES, structure_groups
from tests.conftest import small_alexnet
from tests.sparsity.slow_loops import members


def convolution(**settings):
    inputs = keras.Input((6, 6, 4))
    x = layers.Conv2D(6, (2, 3), name="conv", **settings)(inputs)
    x = layers.GlobalAveragePooling2D()(x)
    return keras.Model(inputs, layers.Dense(3, name="logits")(x))


def one(model, structure, name):
    (groups,) = structure_groups(model, structure, [name])
    return groups


KERNEL = {
    "filters": ((6,), lambda m, k, c, n: n),
    "channels": ((4,), lambda m, k, c, n: c),
    "shapes": ((2, 3, 4), lambda m, k, c, n: (m * 3 + k) * 4 + c),
    "filters2d": ((4, 6), lambda m, k, c, n: c * 6 + n),
    "depth": ((), lambda m, k, c, n: 0),
}


@pytest.mark.parametrize("structure", KERNEL)
def test_groups_of_a_convolution(structure):
    shape, number = KERNEL[structure]
    groups = one(convolution(), structure, "conv")
    assert groups.shape == shape and groups.structure == structure and groups.name == "conv"
    expected = [[] for _ in range(groups.count)]
    for place in itertools.product(range(2), range(3), range(4), range(6)):
        expected[number(*place)].append(("conv/kernel", place))
    assert members(groups) == [sorted(g) for g in expected]
    assert groups.sizes().tolist() == [len(g) for g in expected]


GROUPED = {
    # Two blocks: filters 0-2 read channels 0 and 1, filters 3-5 read 2 and 3.
    "filters": ((6,), lambda m, k, c, n: n),
    "channels": ((4,), lambda m, k, c, n: n // 3 * 2 + c),
    "shapes": ((2, 3, 4), lambda m, k, c, n: (m * 3 + k) * 4 + n // 3 * 2 + c),
    "filters2d": ((2, 6), lambda m, k, c, n: c * 6 + n),
    "depth": ((), lambda m, k, c, n: 0),
}


@pytest.mark.parametrize("structure", GROUPED)
def test_each_block_of_a_grouped_convolution_is_a_matrix(structure):
    shape, number = GROUPED[structure]
    groups = one(convolution(groups=2), structure, "conv")
    assert groups.shape == shape
    expected = [[] for _ in range(groups.count)]
    for place in itertools.product(range(2), range(3), range(2), range(6)):
        expected[number(*place)].append(("conv/kernel", place))
    assert members(groups) == [sorted(g) for g in expected]


def test_groups_of_a_dense_layer_are_units_and_inputs():
    net = sn.models.mlp((5,), num_classes=3, input_shape=(4,))
    units, inputs = one(net, "filters", "fc1"), one(net, "channels", "fc1")
    assert units.shape == (5,) and inputs.shape == (4,)
    assert members(units)[2] == [("fc1/kernel", (c, 2)) for c in range(4)]
    assert members(inputs)[1] == [("fc1/kernel", (1, n)) for n in range(5)]
    assert members(one(net, "shapes", "fc1")) == members(inputs)
    with pytest.raises(ArgumentError, match="'fc1' has no such groups: each would be a single"):
        structure_groups(net, "filters2d", ["fc1"])
    assert structure_groups(net, "filters2d") == ()


def test_groups_of_depthwise_and_separable_convolutions():
    inputs = keras.Input((6, 6, 3))
    x = layers.DepthwiseConv2D(2, depth_multiplier=2, name="depthwise")(inputs)
    x = layers.SeparableConv2D(4, 2, depth_multiplier=2, name="separable")(x)
    x = layers.DepthwiseConv2D(2, name="one")(x)
    x = layers.Dense(2, name="dense")(layers.GlobalMaxPooling2D()(x))
    model = keras.Model(inputs, x)
    window = list(itertools.product(range(2), range(2)))
    own = members(one(model, "filters", "depthwise"))
    assert own[3] == [("depthwise/kernel", (*w, 1, 1)) for w in window] and len(own) == 6
    own = members(one(model, "channels", "depthwise"))
    assert len(own) == 3 and len(own[0]) == 8
    assert one(model, "shapes", "depthwise").shape == (2, 2, 3)
    own = members(one(model, "channels", "separable"))
    assert len(own) == 6
    assert own[1] == sorted(
        [("separable/depthwise_kernel", (*w, 1, j)) for w in window for j in range(2)]
        + [("separable/pointwise_kernel", (0, 0, row, n)) for row in (2, 3) for n in range(4)]
    )
    assert len(members(one(model, "filters", "separable"))[0]) == 12
    assert len(members(one(model, "depth", "separable"))[0]) == 2 * 2 * 6 * 2 + 12 * 4
    assert [g.name for g in structure_groups(model, "shapes")] == ["depthwise", "dense"]
    with pytest.raises(ArgumentError, match="'one' has no such groups"):
        structure_groups(model, "shapes", ["one"])


def test_spaces_hold_what_makes_a_channel_and_what_reads_it():
    net = small_alexnet(num_classes=3, channels=2)  # conv2 is flattened at 4 x 4... positions
    found = {g.name: g for g in structure_groups(net, "spaces")}
    assert {n: g.shape for n, g in found.items()} == {
        "conv1": (6,), "conv2": (2,), "fc6": (16,), "fc7": (14,)
    }  # fmt: skip
    positions = net.get_layer("flatten").output.shape[-1] // 2
    rows = [2 * position + 1 for position in range(positions)]
    assert members(found["conv2"])[1] == sorted(
        [("conv2/kernel", (*place, 1)) for place in itertools.product(range(3), range(3), range(6))]
        + [("conv2/bias", (1,)), ("bn2/gamma", (1,)), ("bn2/beta", (1,))]
        + [("fc6/kernel", (row, unit)) for row in rows for unit in range(16)]
    )


def residual():
    """Two blocks on one stream, the second with a projection."""
    inputs = keras.Input((8, 8, 3))
    x = layers.Conv2D(4, 3, padding="same", name="stem")(inputs)
    for block, filters in (("a", 4), ("b", 5)):
        y = layers.Conv2D(filters, 3, padding="same", name=f"{block}1")(x)
        y = layers.Conv2D(filters, 3, padding="same", use_bias=False, name=f"{block}2")(y)
        y = layers.BatchNormalization(name=f"{block}_norm")(y)
        if filters != x.shape[-1]:
            x = layers.Conv2D(filters, 1, name=f"{block}_shortcut")(x)
        x = layers.ReLU()(layers.Add(name=f"{block}_add")([x, y]))
    x = layers.GlobalAveragePooling2D()(x)
    return keras.Model(inputs, layers.Dense(3, name="logits")(x))


def test_a_residual_stream_is_one_space():
    found = {g.name: g for g in structure_groups(residual(), "spaces")}
    assert list(found) == ["stem", "a1", "b1", "b2"]
    paths = {p.path for p in found["stem"].parts}
    assert paths == {
        "stem/kernel", "stem/bias", "a1/kernel", "a2/kernel", "a_norm/gamma", "a_norm/beta",
        "b1/kernel", "b_shortcut/kernel",
    }  # fmt: skip


def test_a_layer_has_the_norm_that_alone_reads_it():
    found = {g.name: {p.path for p in g.parts} for g in structure_groups(residual(), "layers")}
    assert found["a1"] == {"a1/kernel", "a1/bias"}  # a convolution reads it
    assert found["a2"] == {"a2/kernel", "a_norm/gamma", "a_norm/beta"}
    (one_group,) = members(one(residual(), "layers", "a2"))
    assert len(one_group) == 3 * 3 * 4 * 4 + 4 + 4

    inputs = keras.Input((6, 6, 4))
    x = layers.Conv2D(4, 1, use_bias=False, name="conv")(inputs)
    twice = keras.Model(inputs, layers.Add()([x, layers.BatchNormalization()(x)]))
    assert {p.path for p in one(twice, "layers", "conv").parts} == {"conv/kernel"}
    norm, x = layers.BatchNormalization(), layers.Conv2D(4, 1, use_bias=False, name="conv")(inputs)
    shared = keras.Model(inputs, norm(layers.ReLU()(norm(x))))
    assert {p.path for p in one(shared, "layers", "conv").parts} == {"conv/kernel"}
    norm = layers.BatchNormalization(trainable=False)
    still = keras.Model(inputs, norm(layers.Conv2D(4, 1, use_bias=False, name="conv")(inputs)))
    assert {p.path for p in one(still, "layers", "conv").parts} == {"conv/kernel"}
    assert len(structure_groups(still, "layers", ["conv"], frozen=True)[0].parts) == 3


def test_layers_by_default():
    model = residual()
    devices = place_channels(model, 2)
    names = {s: [g.name for g in structure_groups(model, s, devices=devices)] for s in STRUCTURES}
    assert names["depth"] == ["a1", "a2", "b1", "b2"]  # no first layer, no projection
    assert names["layers"] == names["depth"]
    every = ["stem", "a1", "a2", "b1", "b_shortcut", "b2", "logits"]
    assert sorted(names["channels"]) == sorted(every)
    assert sorted(names["filters"]) == sorted(every[:-1])
    assert sorted(names["blocks"]) == sorted(every[1:])  # every device has the images
    frozen = residual()
    frozen.get_layer("a1").trainable = False
    assert "a1" not in [g.name for g in structure_groups(frozen, "channels")]


def test_channels_end_to_end_in_a_concatenation():
    inputs = keras.Input((4,))
    a = layers.Dense(2, name="a")(inputs)
    b = layers.Dense(3, name="b")(inputs)
    x = layers.Dense(2, name="both")(layers.Concatenate()([a, b]))
    model = keras.Model(inputs, layers.Dense(2, name="logits")(x))
    groups = one(model, "spaces", "b")
    assert members(groups)[0] == sorted(
        [("b/kernel", (c, 0)) for c in range(4)]
        + [("b/bias", (0,)), ("both/kernel", (2, 0)), ("both/kernel", (2, 1))]
    )
    # The input's neurons can be named, the classes cannot.
    inputs = one(model, "spaces", "input")
    assert members(inputs)[3] == sorted(
        [("a/kernel", (3, n)) for n in range(2)] + [("b/kernel", (3, n)) for n in range(3)]
    )
    with pytest.raises(ArgumentError, match="channels of 'logits' cannot be taken out: it is an"):
        structure_groups(model, "spaces", ["logits"])


def test_spaces_that_a_layer_needs_whole_are_left_out():
    inputs = keras.Input((4,))
    x = layers.LayerNormalization(name="norm")(layers.Dense(5, name="a")(inputs))
    x = layers.Dense(6, name="b")(x)
    model = keras.Model(inputs, layers.Dense(2, name="logits")(x))
    assert [g.name for g in structure_groups(model, "spaces")] == ["b"]
    with pytest.raises(ArgumentError, match="layer 'norm' needs all of its channels"):
        structure_groups(model, "spaces", ["a"])


def test_wrong_names():
    with pytest.raises(ArgumentError, match="`structure` must be one of filters, channels"):
        structure_groups(convolution(), "rows")
    with pytest.raises(ArgumentError, match="'conv9' is no layer with a kernel for `filters`"):
        structure_groups(convolution(), "filters", ["conv9"])
    with pytest.raises(ArgumentError, match="`spaces`: 'conv9' is no .*; there are conv."):
        structure_groups(convolution(), "spaces", ["conv9"])


TRANSPOSED = {
    "filters": ((5,), lambda m, k, n, c: n),
    "channels": ((4,), lambda m, k, n, c: c),
    "filters2d": ((5, 4), lambda m, k, n, c: n * 4 + c),
    "depth": ((), lambda m, k, n, c: 0),
}


@pytest.mark.parametrize("structure", TRANSPOSED)
def test_groups_of_a_transposed_convolution(structure):
    """Its kernel has the axes (window, out, in)."""
    inputs = keras.Input((6, 6, 4))
    x = layers.Conv2DTranspose(5, 2, name="up")(inputs)
    model = keras.Model(inputs, layers.Dense(2, name="logits")(layers.GlobalMaxPooling2D()(x)))
    shape, number = TRANSPOSED[structure]
    groups = one(model, structure, "up")
    expected = [[] for _ in range(groups.count)]
    for place in itertools.product(range(2), range(2), range(5), range(4)):
        expected[number(*place)].append(("up/kernel", place))
    assert groups.shape == shape and members(groups) == [sorted(g) for g in expected]
    with pytest.raises(ArgumentError, match="layer 'up' has no such groups"):
        structure_groups(model, "shapes", ["up"])


def test_what_makes_the_output_by_a_transposed_convolution_is_last():
    inputs = keras.Input((6, 6, 4))
    x = layers.Conv2D(3, 3, name="c2")(layers.Conv2D(3, 3, name="c1")(inputs))
    model = keras.Model(inputs, layers.Conv2DTranspose(2, 3, name="up")(x))
    assert [g.name for g in structure_groups(model, "filters")] == ["c1", "c2"]


def test_a_shared_layer_is_counted_once():
    inputs = keras.Input((6, 6, 4))
    shared = layers.Conv2D(4, 1, name="shared")
    x = shared(shared(inputs))
    model = keras.Model(inputs, layers.Dense(2, name="logits")(layers.GlobalMaxPooling2D()(x)))
    assert [g.name for g in structure_groups(model, "channels")] == ["shared", "logits"]
    sizes = structure_groups(model, "channels")[0].sizes()
    np.testing.assert_array_equal(sizes, 4)
