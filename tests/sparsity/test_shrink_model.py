"""The shrink, case by case: what goes, what is folded, what stays and is named."""

import keras
import numpy as np
import pytest
from keras import layers, ops

import splitnet_tf as sn
from splitnet_tf.sparsity import read_selection, shrink_model, structure_groups
from tests.conftest import to_numpy
from tests.sparsity.zeros import check_shrink, kernel_shapes, set_zero, settle

EVERY = ...


def chain(activation="relu", padding="valid", norm=True, bias=True, size=8):
    """conv1 -> norm -> activation -> conv2 -> pool -> fc -> logits."""
    inputs = keras.Input((size, size, 3))
    x = layers.Conv2D(6, 3, padding=padding, use_bias=bias, name="conv1")(inputs)
    if norm:
        x = layers.BatchNormalization(name="norm")(x)
    x = layers.Activation(activation, name="act")(x)
    x = layers.Conv2D(5, 3, padding=padding, use_bias=bias, name="conv2")(x)
    x = layers.Flatten(name="flatten")(layers.MaxPooling2D()(x))
    x = layers.Dense(4, activation="tanh", use_bias=bias, name="fc")(x)
    return settle(keras.Model(inputs, layers.Dense(3, name="logits")(x)), 1)


def test_nothing_is_zero_and_nothing_goes():
    model = chain()
    shrunk = check_shrink(model)
    assert shrunk.changes.left == () and shrunk.model.count_params() == model.count_params()
    assert all(c.before == c.after for c in shrunk.changes.kernels)
    assert shrunk.selection.method == "zeros" and shrunk.selection.layers == ()
    assert [len(s.indices) for s in shrunk.selection.spaces] == [6, 5, 4]


def test_a_channel_without_readers_goes():
    model = chain()
    set_zero(model.get_layer("conv2").kernel, (EVERY, 2, slice(None)))
    shrunk = check_shrink(model)
    assert kernel_shapes(shrunk)["conv1"] == (3, 3, 3, 5)
    assert kernel_shapes(shrunk)["conv2"] == (3, 3, 5, 5)
    assert shrunk.model.get_layer("norm").gamma.shape == (5,)
    assert shrunk.selection.space("conv1").indices == (0, 1, 3, 4, 5)


@pytest.mark.parametrize("activation", ["relu", "sigmoid", "softplus"])
@pytest.mark.parametrize("bias", [True, False])
def test_a_constant_is_folded_into_the_next_bias(activation, bias):
    """A filter of zeros emits its bias, the norm's offset, and what the activation makes of it."""
    model = chain(activation, bias=bias)
    set_zero(model.get_layer("conv1").kernel, (EVERY, [1, 4]))
    model.get_layer("norm").beta.assign(np.full(6, 3.0))  # relu lets it through
    assert read_selection(model).space("conv1").indices == (0, 2, 3, 5)
    shrunk = check_shrink(model)
    assert kernel_shapes(shrunk)["conv2"] == (3, 3, 4, 5)
    assert shrunk.model.get_layer("conv2").use_bias
    assert shrunk.changes.left == ()


def test_a_constant_behind_a_flattened_pool_is_folded_at_every_position():
    model = chain()
    set_zero(model.get_layer("conv2").kernel, (EVERY, 3))
    shrunk = check_shrink(model)
    assert kernel_shapes(shrunk) == {
        "conv1": (3, 3, 3, 6), "conv2": (3, 3, 6, 4), "fc": (16, 4), "logits": (4, 3)
    }  # fmt: skip


def test_a_batch_norm_without_scale_makes_a_constant():
    model = chain()
    set_zero(model.get_layer("norm").gamma, [0, 5])
    assert kernel_shapes(check_shrink(model))["conv1"] == (3, 3, 3, 4)


def test_a_constant_in_front_of_zero_padding_stays_and_is_named():
    model = chain(padding="same")
    set_zero(model.get_layer("conv1").kernel, (EVERY, [1, 4]))
    model.get_layer("norm").beta.assign([1, 2, 3, 4, 5, 6])  # relu lets them through
    model.get_layer("norm").moving_mean.assign(np.zeros(6))
    shrunk = check_shrink(model)
    assert kernel_shapes(shrunk)["conv1"] == (3, 3, 3, 6)
    assert shrunk.changes.left == (
        "space 'conv1': 2 channels stay (1, 4): layer 'conv2' reads a constant that cannot be "
        "folded: it is padded with zeros",
    )
    assert shrunk.changes.kernels[0].zero_filters == 2
    # Zero constants go through padding, and so does a window that never lies on it.
    model.get_layer("norm").beta.assign([1, -2, 3, 4, -5, 6])
    model.get_layer("conv1").bias.assign(np.zeros(6))
    assert kernel_shapes(check_shrink(model))["conv1"] == (3, 3, 3, 4)
    model.get_layer("norm").beta.assign([1, 2, 3, 4, 5, 6])
    kernel = to_numpy(model.get_layer("conv2").kernel).copy()
    kernel[[0, 0, 0, 1, 1, 2, 2, 2], [0, 1, 2, 0, 2, 0, 1, 2]] = 0
    model.get_layer("conv2").kernel.assign(kernel)
    shapes = kernel_shapes(check_shrink(model))
    assert shapes["conv1"] == (3, 3, 3, 4) and shapes["conv2"] == (1, 1, 4, 5)


def test_constants_reach_the_end():
    """All of conv1 is dead: conv2 and fc emit constants, the logits their bias and more."""
    model = chain()
    set_zero(model.get_layer("conv1").kernel, EVERY)
    shrunk = check_shrink(model)
    assert kernel_shapes(shrunk)["conv1"] is not None  # something must be read
    assert shrunk.model.count_params() < 60


def block(first="stem", projection=False, norm=True, activation="relu"):
    inputs = keras.Input((8, 8, 3))
    x = layers.Conv2D(4, 3, padding="same", name="stem")(inputs)
    for name in ("a", "b"):
        y = layers.Conv2D(5, 3, padding="same", name=f"{name}1")(x)
        y = layers.ReLU(name=f"{name}_relu")(y)
        y = layers.Conv2D(4, 3, padding="same", name=f"{name}2")(y)
        if norm:
            y = layers.BatchNormalization(name=f"{name}_norm")(y)
        if projection:
            x = layers.Conv2D(4, 1, name=f"{name}_projection")(x)
        x = layers.Add(name=f"{name}_add")([x, y])
        x = layers.Activation(activation, name=f"{name}_out")(x)
    x = layers.GlobalAveragePooling2D(name="pool")(x)
    return settle(keras.Model(inputs, layers.Dense(3, name="logits")(x)), 2)


@pytest.mark.parametrize("projection", [False, True])
def test_a_dead_branch_goes_with_its_sum(projection):
    model = block(projection=projection)
    layer = model.get_layer("a2")
    set_zero(layer.kernel, EVERY)
    shrunk = check_shrink(model)
    names = [layer.name for layer in shrunk.model.layers]
    assert not {"a1", "a_relu", "a2", "a_norm", "a_add"} & set(names)
    assert ("a_projection" in names) == projection
    assert shrunk.selection.layers == ("a1", "a2")
    offset = shrunk.model.get_layer("a_add_constant").offset  # what the norm makes of the bias
    norm = model.get_layer("a_norm")
    expected = to_numpy(norm(ops.reshape(layer.bias, (1, 1, 1, 4))))[0, 0, 0]
    np.testing.assert_allclose(offset, expected, rtol=1e-5)


@keras.saving.register_keras_serializable(package="tests")
class OnePlus(layers.Layer):
    """x (1 + gamma): a scale of 0 lets everything through."""

    def build(self, shape):
        self.gamma = self.add_weight(shape=(shape[-1],), initializer="zeros")

    def call(self, x):
        return x * (1 + self.gamma)


@sn.register_rule(OnePlus)
class OnePlusRule(sn.graph.PerChannelRule):
    pass


def test_a_scale_called_gamma_need_not_multiply_alone():
    inputs = keras.Input((6,))
    x = OnePlus()(layers.Dense(5, activation="relu")(inputs))
    model = settle(keras.Model(inputs, layers.Dense(3)(x)), 3)
    model.layers[2].gamma.assign(np.zeros(5))
    assert check_shrink(model).changes.totals("weights") == (45, 45)


def test_a_dead_layer_of_the_structure_takes_its_block_away():
    model = block()
    (groups,) = structure_groups(model, "layers", ["a2"])
    values = {v.path: v for v in model.variables}
    for part in groups.parts:
        values[part.path].assign(np.zeros(part.shape))
    shrunk = check_shrink(model)
    names = [layer.name for layer in shrunk.model.layers]
    assert [n for n in names if n.startswith("a")] == ["a_out"]  # no constant is left of it


def test_a_dead_branch_that_adds_nothing_leaves_nothing():
    model = block(norm=False)
    for weight in model.get_layer("b2").weights:
        set_zero(weight, EVERY)
    shrunk = check_shrink(model)
    names = [layer.name for layer in shrunk.model.layers]
    assert [n for n in names if n.startswith("b")] == ["b_out"]


def test_when_the_first_convolution_of_a_block_dies_the_border_holds_the_second():
    model = block()
    set_zero(model.get_layer("a1").kernel, EVERY)
    model.get_layer("a1").bias.assign(np.ones(5))
    shrunk = check_shrink(model)
    assert shrunk.selection.layers == () and "padded with zeros" in shrunk.changes.left[0]
    set_zero(model.get_layer("a1").bias, EVERY)  # now a2 reads zeros
    shrunk = check_shrink(model)
    assert shrunk.selection.layers == ("a1", "a2")


def test_a_dead_shortcut_goes_too():
    model = block(projection=True)
    set_zero(model.get_layer("b_projection").kernel, EVERY)
    shrunk = check_shrink(model)
    assert shrunk.selection.layers == ("b_projection",)


def test_a_channel_of_a_stream_goes_when_all_that_read_it_ignore_it():
    model = block()
    for reader in ("a1", "b1"):
        set_zero(model.get_layer(reader).kernel, (EVERY, 2, slice(None)))
    assert kernel_shapes(check_shrink(model))["stem"] == (3, 3, 3, 4)  # the logits read it
    set_zero(model.get_layer("logits").kernel, 2)
    shapes = kernel_shapes(check_shrink(model))
    assert shapes["stem"] == (3, 3, 3, 3) and shapes["a2"] == (3, 3, 5, 3)
    assert shapes["b1"] == (3, 3, 3, 5)


def test_a_filter_of_a_stream_that_is_zero_stays_and_is_counted():
    model = block()
    set_zero(model.get_layer("a2").kernel, (EVERY, 1))
    shrunk = check_shrink(model)
    change = {c.layer: c for c in shrunk.changes.kernels}["a2"]
    assert change.after == change.before and change.zero_filters == 1


def test_constant_gates_become_a_scale():
    inputs = keras.Input((6, 6, 3))
    x = layers.Conv2D(4, 3, name="conv")(inputs)
    gate = layers.GlobalAveragePooling2D(keepdims=True)(x)
    gate = layers.Conv2D(4, 1, activation="sigmoid", name="gate")(gate)
    x = layers.Multiply(name="times")([x, gate])
    x = layers.GlobalMaxPooling2D()(x)
    model = settle(keras.Model(inputs, layers.Dense(3, name="logits")(x)), 3)
    set_zero(model.get_layer("gate").kernel, EVERY)
    shrunk = check_shrink(model)
    assert shrunk.selection.layers == ("gate",)
    scale = shrunk.model.get_layer("times_constant").scale
    bias = to_numpy(model.get_layer("gate").bias)
    np.testing.assert_allclose(scale, 1 / (1 + np.exp(-bias)), rtol=1e-5)


def test_dead_operands_leave_a_concatenation():
    inputs = keras.Input((6, 6, 3))
    a = layers.Conv2D(4, 3, activation="relu", name="a")(inputs)
    b = layers.Conv2D(4, 3, activation="relu", name="b")(inputs)
    c = layers.Conv2D(4, 3, activation="relu", name="c")(inputs)
    x = layers.Concatenate(name="joined")([a, b, c])
    x = layers.Conv2D(5, 1, name="mix")(x)
    model = settle(keras.Model(inputs, layers.Dense(3)(layers.GlobalMaxPooling2D()(x))), 4)
    set_zero(model.get_layer("b").kernel, EVERY)
    shrunk = check_shrink(model)
    assert "b" not in [layer.name for layer in shrunk.model.layers]
    assert kernel_shapes(shrunk)["mix"] == (1, 1, 8, 5)
    set_zero(model.get_layer("a").kernel, EVERY)
    shrunk = check_shrink(model)
    assert "joined" not in [layer.name for layer in shrunk.model.layers]
    assert shrunk.selection.space("a").indices == ()


BOXES = [((1, 2), (1, 2)), ((0, 3), (1, 4)), ((2, 5), (0, 1)), ((0, 5), (4, 5))]


@pytest.mark.parametrize("padding", ["valid", "same"])
@pytest.mark.parametrize("strides, dilation", [(1, 1), (2, 1), (3, 1), (1, 2)])
@pytest.mark.parametrize(
    "box", [((1, 2), (1, 2)), ((0, 3), (1, 4)), ((2, 5), (0, 1)), ((0, 5), (4, 5))]
)
def test_windows_are_cropped_to_a_box(padding, strides, dilation, box):
    inputs = keras.Input((11, 12, 2))
    x = layers.Conv2D(
        3, 5, strides, padding, dilation_rate=dilation, activation="relu", name="conv"
    )(inputs)
    model = settle(keras.Model(inputs, layers.Dense(2)(layers.Flatten()(x))), 5)
    kernel = to_numpy(model.get_layer("conv").kernel)
    mask = np.zeros((5, 5, 1, 1))
    mask[slice(*box[0]), slice(*box[1])] = 1
    model.get_layer("conv").kernel.assign(kernel * mask)
    shrunk = check_shrink(model)
    sides = tuple(high - low for low, high in box)
    assert kernel_shapes(shrunk)["conv"] == (*sides, 2, 3)
    assert shrunk.changes.left == ()


def test_the_middle_of_a_padded_window_needs_no_other_layer():
    inputs = keras.Input((8, 8, 2))
    x = layers.Conv2D(3, 3, padding="same", name="conv")(inputs)
    model = settle(keras.Model(inputs, layers.Dense(2)(layers.Flatten()(x))), 5)
    kernel = np.zeros((3, 3, 2, 3))
    kernel[1, 1] = 1.5
    model.get_layer("conv").kernel.assign(kernel)
    shrunk = check_shrink(model)
    assert kernel_shapes(shrunk)["conv"] == (1, 1, 2, 3)
    assert len(shrunk.model.layers) == len(model.layers)


@pytest.mark.parametrize("padding", ["valid", "same", "causal"])
def test_windows_along_a_sequence(padding):
    inputs = keras.Input((12, 2))
    x = layers.Conv1D(3, 5, padding=padding, dilation_rate=2, name="conv")(inputs)
    model = settle(keras.Model(inputs, layers.Dense(2)(layers.Flatten()(x))), 5)
    set_zero(model.get_layer("conv").kernel, [0, 3, 4])
    assert kernel_shapes(check_shrink(model))["conv"] == (2, 2, 3)


def test_a_window_on_inputs_of_unknown_size():
    inputs = keras.Input((None, None, 2))
    x = layers.Conv2D(3, 3, padding="same", activation="softplus", name="a")(inputs)
    x = layers.Conv2D(3, 3, strides=2, padding="same", name="b")(x)
    model = settle(keras.Model(inputs, layers.Dense(2)(layers.GlobalMaxPooling2D()(x))), 6)
    for name in "ab":
        set_zero(model.get_layer(name).kernel, [0, 1])
    set_zero(model.get_layer("a").kernel, (EVERY, 1))
    shrunk = check_shrink(model)
    assert kernel_shapes(shrunk)["a"] == (1, 3, 2, 3) and kernel_shapes(shrunk)["b"] == (3, 3, 3, 3)
    assert any("the padding depends on the size" in sentence for sentence in shrunk.changes.left)
    assert any("channel 1 stays" in sentence for sentence in shrunk.changes.left)
    assert shrunk.changes.total("multiply_adds", True) is None
    assert "unknown" in str(shrunk.changes)


def test_inputs_of_a_dense_layer_are_taken_on_request():
    model = settle(sn.models.mlp((6,), num_classes=3, input_shape=(4, 4, 1)), 7)
    set_zero(model.get_layer("fc1").kernel, [0, 3, 5, 15])
    shrunk = check_shrink(model)
    assert kernel_shapes(shrunk)["fc1"] == (16, 6)
    assert shrunk.changes.kernels[0].zero_columns == 4
    shrunk = check_shrink(model, gather=True)
    assert kernel_shapes(shrunk)["fc1"] == (12, 6)
    assert shrunk.selection.columns[0].indices == tuple(
        i for i in range(16) if i not in (0, 3, 5, 15)
    )


@pytest.mark.parametrize("padding", ["valid", "same"])
@pytest.mark.parametrize("strides, dilation", [(1, 1), (2, 1), (1, 2)])
def test_columns_of_a_convolution_are_gathered_on_request(padding, strides, dilation):
    inputs = keras.Input((9, 10, 3))
    x = layers.Conv2D(4, 3, strides, padding, dilation_rate=dilation, name="conv")(inputs)
    model = settle(keras.Model(inputs, layers.Dense(2)(layers.Flatten()(x))), 5)
    columns = np.random.default_rng(0).random((3, 3, 3, 1)) < 0.4
    columns[1, 1] = True
    model.get_layer("conv").kernel.assign(to_numpy(model.get_layer("conv").kernel) * columns)
    assert kernel_shapes(check_shrink(model))["conv"] == (3, 3, 3, 4)
    shrunk = check_shrink(model, gather=True)
    assert kernel_shapes(shrunk)["conv"] == (1, 1, columns.sum(), 4)
    assert shrunk.selection.columns[0].indices == tuple(np.flatnonzero(columns))


def test_columns_of_a_depthwise_convolution_are_not_gathered():
    inputs = keras.Input((6, 6, 3))
    x = layers.DepthwiseConv2D(3, depth_multiplier=2, name="depthwise")(inputs)
    model = settle(keras.Model(inputs, layers.Dense(2)(layers.Flatten()(x))), 5)
    set_zero(model.get_layer("depthwise").kernel, (0, 1, 2))
    assert kernel_shapes(check_shrink(model, gather=True))["depthwise"] == (3, 3, 3, 2)


def test_shared_layers():
    inputs = keras.Input((6, 6, 3))
    x = layers.Conv2D(4, 1, activation="softplus", name="a")(inputs)
    shared = layers.Conv2D(4, 3, padding="valid", name="shared")
    y = shared(shared(x))
    model = settle(
        keras.Model(inputs, layers.Dense(2, name="dense")(layers.GlobalMaxPooling2D()(y))), 8
    )
    set_zero(model.get_layer("a").kernel, (EVERY, 1))
    set_zero(shared.kernel, 0)
    shrunk = check_shrink(model)
    assert kernel_shapes(shrunk) == {"a": (1, 1, 3, 4), "shared": (3, 3, 4, 4), "dense": (4, 2)}
    assert "used in several places" in shrunk.changes.left[-1]


def test_outputs_and_inputs_are_whole():
    inputs = [keras.Input((4,)), keras.Input((5,))]
    x = layers.Dense(6, activation="relu", name="a")(inputs[0])
    y = layers.Dense(6, activation="relu", name="b")(inputs[1])
    z = layers.Add()([x, y])
    outputs = [layers.Dense(3, name="one")(z), layers.Dense(2, name="two")(z)]
    model = settle(keras.Model(inputs, outputs), 9)
    set_zero(model.get_layer("one").kernel, (EVERY, 1))
    set_zero(model.get_layer("a").kernel, 2)
    for name in ("one", "two"):
        set_zero(model.get_layer(name).kernel, 4)
    shrunk = check_shrink(model)
    assert kernel_shapes(shrunk) == {"a": (4, 5), "b": (5, 5), "one": (5, 3), "two": (5, 2)}


def test_a_shrunk_model_is_plain_and_is_saved(tmp_path):
    model = block()
    set_zero(model.get_layer("a2").kernel, EVERY)
    small = shrink_model(model).model
    small.save(tmp_path / "small.keras")
    again = keras.models.load_model(tmp_path / "small.keras")
    x = np.random.default_rng(0).normal(size=(2, 8, 8, 3)).astype("float32")
    np.testing.assert_array_equal(to_numpy(again(x)), to_numpy(small(x)))
    assert all(type(layer).__module__.startswith("keras.") for layer in small.layers)
    # It can be shrunk again, and nothing more goes.
    assert shrink_model(small).model.count_params() == small.count_params()


def test_the_model_is_left_as_it_is():
    model = block()
    set_zero(model.get_layer("a2").kernel, EVERY)
    before = [to_numpy(w.value) for w in model.weights]
    shrink_model(model)
    for a, b in zip(before, model.weights, strict=True):
        np.testing.assert_array_equal(a, to_numpy(b.value))
