"""Promise 2 for every layer that a rule describes: split exactly, or refused by name."""

import keras
import numpy as np
import pytest
from keras import layers, ops

import splitnet_tf as sn
from tests.conftest import random_grouping, scramble, to_numpy
from tests.masked import masked_outputs
from tests.splitting.test_split_model import check_split


def image_net(middle, channels=8, size=8, **settings):
    """stem -> ``middle`` -> mix -> pool -> logits, on images."""
    inputs = keras.Input((size, size, 3))
    x = layers.Conv2D(channels, 3, padding="same", name="stem", **settings)(inputs)
    x = middle(x)
    x = layers.Conv2D(10, 1, activation="relu", name="mix")(x)
    x = layers.GlobalAveragePooling2D(name="pool")(x)
    return scramble(keras.Model(inputs, layers.Dense(7, name="logits")(x)))


def gate(x):
    """Squeeze and excite, with ``keras.ops`` in it."""
    squeezed = ops.mean(x, axis=(1, 2), keepdims=True)
    y = layers.Conv2D(4, 1, activation="relu", name="down")(squeezed)
    return x * ops.sigmoid(layers.Conv2D(x.shape[-1], 1, name="up")(y))


def reshaped_gate(x):
    """As MobileNetV3 and EfficientNet do it."""
    y = layers.GlobalAveragePooling2D()(x)
    y = layers.Reshape((1, 1, x.shape[-1]))(y)
    return layers.Multiply()([x, layers.Conv2D(x.shape[-1], 1, activation="sigmoid")(y)])


def moved(x):
    """Channels first and back again."""
    y = layers.Permute((3, 1, 2))(x)
    return ops.transpose(layers.ReLU()(y), (0, 2, 3, 1))


def as_sequence(x):
    y = ops.reshape(x, (-1, x.shape[1] * x.shape[2], x.shape[3]))
    y = layers.Conv1D(9, 3, padding="same", name="along")(y)
    y = layers.MaxPooling1D(2)(layers.UpSampling1D(2)(y))
    return layers.Reshape((x.shape[1], x.shape[2], 9))(y)


SPLIT = {
    "depthwise": lambda x: layers.DepthwiseConv2D(3, padding="same")(x),
    "depthwise strided": lambda x: layers.DepthwiseConv2D(3, strides=2, use_bias=False)(x),
    "conv with a group a channel": lambda x: layers.Conv2D(8, 3, groups=8, padding="same")(x),
    "separable": lambda x: layers.SeparableConv2D(9, 3, name="separable")(x),
    "batch norm": lambda x: layers.BatchNormalization()(x),
    "batch norm without scale": lambda x: layers.BatchNormalization(scale=False)(x),
    "instance norm": lambda x: layers.GroupNormalization(-1)(x),
    "group norm of one channel each": lambda x: layers.GroupNormalization(8, center=False)(x),
    "prelu": lambda x: layers.PReLU(shared_axes=[1, 2])(x),
    "prelu of every position": lambda x: layers.PReLU()(x),
    "leaky": lambda x: layers.LeakyReLU()(x),
    "layer as activation": lambda x: layers.Dense(8, activation=layers.LeakyReLU())(x),
    "ops": lambda x: ops.gelu(ops.clip(2.0 * x - 0.5, -1, 1)) ** 2,
    "relu6": lambda x: layers.ReLU(max_value=6, negative_slope=0.1)(x),
    "max pool": lambda x: layers.MaxPooling2D(3, 2, padding="same")(x),
    "average pool": lambda x: layers.AveragePooling2D(2)(x),
    "padding": lambda x: layers.ZeroPadding2D(((1, 2), (0, 1)))(x),
    "cropping": lambda x: layers.Cropping2D(1)(x),
    "upsampling": lambda x: layers.UpSampling2D(2, interpolation="bilinear")(x),
    "resizing": lambda x: layers.Resizing(5, 5)(x),
    "dropouts": lambda x: layers.SpatialDropout2D(0.3)(layers.GaussianDropout(0.1)(x)),
    "rescaling": lambda x: layers.Rescaling(0.5, offset=1.0)(x),
    "rescaling of each channel": lambda x: layers.Rescaling(
        np.arange(1.0, 9.0) / 4, offset=list(range(8))
    )(x),
    "padded positions": lambda x: ops.pad(x, ((0, 0), (1, 0), (0, 2), (0, 0)), mode="reflect"),
    "padded channels": lambda x: ops.pad(x, ((0, 0), (0, 0), (1, 1), (3, 4))),
    "concatenation": lambda x: layers.Concatenate()([x, layers.Conv2D(5, 1, name="side")(x)]),
    "subtraction": lambda x: layers.Subtract()([x, layers.Conv2D(8, 1)(x)]),
    "average": lambda x: layers.Average()([x, layers.Conv2D(8, 1)(x), x]),
    "maximum": lambda x: layers.Maximum()([x, layers.Conv2D(8, 1)(x)]),
    "gate": gate,
    "reshaped gate": reshaped_gate,
    "moved axes": moved,
    "sequence": as_sequence,
    "squeeze": lambda x: ops.squeeze(ops.expand_dims(x, (1, -1)), (1, -1)),
}

# Exact in the trunk below the cut; refused inside a branch.
WHOLE = {
    "layer norm": lambda x: layers.LayerNormalization()(x),
    "rms norm": lambda x: layers.RMSNormalization()(x),
    "softmax activation": lambda x: layers.Activation("softmax")(x),
    "softmax after a convolution": lambda x: layers.Conv2D(8, 1, activation="softmax")(x),
    "softmax after a separable one": lambda x: layers.SeparableConv2D(8, 1, activation="softmax")(
        x
    ),
    "softmax after a depthwise one": lambda x: layers.DepthwiseConv2D(1, activation="softmax")(x),
}

# Exact in the trunk, which then keeps its channels in their order; refused inside a branch.
ORDERED = {
    "group norm of all": lambda x: layers.GroupNormalization(1)(x),
    "layer norm of all": lambda x: layers.LayerNormalization(axis=[1, 2, 3])(x),
    "groups across spaces": lambda x: layers.Conv2D(6, 1, groups=3)(
        ops.concatenate([x, layers.Conv2D(7, 1)(x)], axis=-1)
    ),
    "a unit alone": lambda x: layers.Conv2D(4, 1, groups=2)(
        ops.concatenate([x, layers.Conv2D(8, 1)(x)], axis=-1)
    ),
    "softmax": lambda x: layers.Softmax()(x),
    "reflected channels": lambda x: ops.pad(x, ((0, 0), (0, 0), (0, 0), (2, 2)), mode="reflect"),
    "unit norm": lambda x: layers.UnitNormalization()(x),
    "attention": lambda x: layers.MultiHeadAttention(2, 4)(x, x),
    "roll": lambda x: ops.roll(x, 1, axis=-1),
    "slice": lambda x: x[..., ::2],
    "clip of each channel": lambda x: ops.clip(x, -np.arange(8.0, dtype="float32"), 0.5),
    "constant": lambda x: x * np.arange(8, dtype="float32"),
    "mean of channels": lambda x: ops.mean(x, axis=-1, keepdims=True) + x,
    "flip": lambda x: layers.RandomFlip()(x),
    "own function": lambda x: layers.Activation(sorted_channels)(x),
    "normalize": lambda x: layers.Normalization(mean=0.5, variance=2.0)(x),
    "time distributed": lambda x: layers.TimeDistributed(layers.Dense(5))(x),
    "glu": lambda x: ops.glu(x),
}


@keras.saving.register_keras_serializable(package="tests")
def sorted_channels(x):
    return ops.sort(x, axis=-1)


@pytest.mark.parametrize("kind", SPLIT)
@pytest.mark.parametrize("sections", [[("stem", 2)], [("mix", 3)]])
def test_layers_of_branches(kind, sections):
    check_split(image_net(SPLIT[kind]), sections, seed=len(kind))


def test_one_channel_for_each_group():
    check_split(image_net(SPLIT["depthwise"], channels=3), [("stem", 3)], seed=1)


@pytest.mark.parametrize("kind", WHOLE)
def test_layers_that_need_all_channels(kind):
    model = image_net(WHOLE[kind])
    check_split(model, [("mix", 3)])
    with pytest.raises(sn.PlanError, match="needs all channels at once, so that it cannot run"):
        sn.SplitPlan.from_sections(model, [("stem", 2)])


def test_a_layer_that_needs_all_channels_is_not_moved_into_the_branches():
    """Beside a tensor of its own space, where what branches read is scattered over the channels."""
    inputs = keras.Input((4, 4, 3))
    x = layers.DepthwiseConv2D(3)(inputs)
    x = layers.LayerNormalization()(layers.Concatenate()([x, layers.Cropping2D(1)(inputs)]))
    x = layers.Dense(4, name="logits")(layers.GlobalAveragePooling2D()(x))
    model = scramble(keras.Model(inputs, x))
    for seed in range(3):
        check_split(model, [("logits", 2)], seed)


@pytest.mark.parametrize("kind", ORDERED)
def test_layers_bound_to_the_order(kind):
    model = image_net(ORDERED[kind])
    check_split(model, [("logits", 3)])
    with pytest.raises(sn.PlanError, match="needs all channels at once.* cannot run inside"):
        sn.SplitPlan.from_sections(model, [("stem", 2)])


def test_flattening_channels_last_as_channels_first_is_bound_to_the_order():
    inputs = keras.Input((2, 3, 3))
    x = layers.Conv2D(4, 1, name="stem")(inputs)
    x = layers.Flatten(data_format="channels_first", name="flat")(x)
    x = layers.Dense(8, name="mix")(x)
    model = scramble(keras.Model(inputs, layers.Dense(7, name="logits")(x)))
    check_split(model, [("logits", 3)])
    check_split(model, [("mix", 2)])
    with pytest.raises(sn.PlanError, match="Layer 'flat' .Flatten. needs all channels at once"):
        sn.SplitPlan.from_sections(model, [("stem", 2)])


def takes(tree) -> int:
    """Number of ``keras.ops`` that gather channels below the head."""
    nodes = [node.model for node in tree.nodes() if node.name != "head"]
    return sum(type(op).__name__ == "Take" for model in nodes for op in model.operations)


@pytest.mark.parametrize("kind", ORDERED)
def test_each_branch_takes_its_channels_where_the_trunk_keeps_their_order(kind):
    model = image_net(ORDERED[kind])
    plan = sn.SplitPlan.from_sections(model, [("mix", 2)])
    (space,) = plan.unsorted
    assert space == plan.kernels[0].in_spaces[0]
    assert takes(check_split(model, [("mix", 2)], seed=8)) == 2
    assert takes(check_split(model, [("logits", 2)], seed=8)) == 0


def test_only_what_needs_its_order_keeps_it():
    """A concatenation with what makes its channels in their order, cut in three."""
    inputs = keras.Input((6, 6, 3))
    sorted_part = layers.Conv2D(7, 3, padding="same", activation="relu", name="a")(inputs)
    kept = layers.TimeDistributed(layers.Dense(6), name="up")(inputs)
    x = layers.BatchNormalization()(layers.Concatenate()([sorted_part, kept]))
    x = layers.Conv2D(9, 1, activation="relu", name="mix")(x)
    x = layers.Dense(7, name="logits")(layers.GlobalAveragePooling2D()(x))
    model = scramble(keras.Model(inputs, x))
    assert sn.SplitPlan.from_sections(model, [("mix", 3)]).unsorted == {"up"}
    for sections in ([("mix", 3)], [("mix", 2), ("logits", 4)]):
        check_split(model, sections)


def test_logits_that_are_scaled_and_shifted():
    inputs = keras.Input((8,))
    x = layers.Dense(6, activation="relu", name="a")(inputs)
    x = layers.Dense(5, name="logits")(x) / 2.0 + np.arange(5, dtype="float32")
    model = scramble(keras.Model(inputs, x))
    check_split(model, [("a", 2)])


def test_lora_in_the_trunk():
    inputs = keras.Input((8,))
    x = layers.Dense(6, activation="relu", name="a")(inputs)
    model = keras.Model(inputs, layers.Dense(5, name="logits")(x))
    model.get_layer("a").enable_lora(2)
    check_split(scramble(model), [("logits", 2)])


def test_scaled_inputs_keep_their_order():
    inputs = keras.Input((6, 6, 3))
    x = layers.Normalization(mean=[0.1, 0.2, 0.3], variance=[1.0, 2.0, 3.0])(inputs)
    x = layers.Conv2D(8, 3, name="stem")(x)
    x = layers.GlobalAveragePooling2D()(x)
    model = scramble(keras.Model(inputs, layers.Dense(7, name="logits")(x)))
    check_split(model, [("stem", 2)])


@pytest.mark.parametrize("rank", [1, 3])
def test_other_ranks(rank):
    inputs = keras.Input((6,) * rank + (4,))
    conv = getattr(layers, f"Conv{rank}D")
    x = conv(6, 3, padding="same", activation="relu", name="a")(inputs)
    x = getattr(layers, f"MaxPooling{rank}D")(2)(x)
    x = getattr(layers, f"ZeroPadding{rank}D")(1)(x)
    x = getattr(layers, f"UpSampling{rank}D")(2)(x)
    x = getattr(layers, f"Cropping{rank}D")(1)(x)
    x = getattr(layers, f"SpatialDropout{rank}D")(0.2)(x)
    x = conv(7, 3, name="b")(x)
    x = getattr(layers, f"AveragePooling{rank}D")(2)(x)
    x = getattr(layers, f"GlobalMaxPooling{rank}D")(keepdims=True)(x)
    x = layers.Dense(5, name="logits")(layers.Flatten()(x))
    model = scramble(keras.Model(inputs, x))
    for sections in ([("a", 2)], [("b", 2), ("logits", 3)]):
        check_split(model, sections)


@pytest.mark.parametrize("steps", [4, 2, None])
@pytest.mark.parametrize("positional", [False, True])
def test_a_mask_is_read_whole_by_every_branch(steps, positional):
    """Its positions are no channels, not even where they are as many as a branch's."""
    inputs, mask = keras.Input((steps, 5)), keras.Input((steps,), dtype="bool")
    x = layers.Dense(8, name="fc1")(inputs)
    x = layers.Dense(8, name="fc2")(x)
    x = layers.BatchNormalization()(x, mask=mask)
    pool = layers.GlobalAveragePooling1D()
    x = pool(x, mask) if positional else pool(x, mask=mask)
    model = scramble(keras.Model([inputs, mask], layers.Dense(4, name="logits")(x)))
    rng = np.random.default_rng(0)
    taken = np.array([[1, 0, 0, 1], [1, 1, 0, 1], [0, 1, 1, 1]], bool)[:, : steps or 3]
    x = [rng.normal(size=(*taken.shape, 5)).astype("float32"), taken]
    for sections in ([("fc1", 2)], [("fc2", 2)], [("logits", 2)]):
        plan = sn.SplitPlan.from_sections(model, sections)
        assert not {s.name for s in plan.spaces} & {"input_1"}
        grouping = random_grouping(plan, rng)
        tree = sn.split_model(model, grouping, plan).model
        np.testing.assert_allclose(
            to_numpy(tree(x)), masked_outputs(model, plan, grouping, x), rtol=1e-4, atol=1e-5
        )
        assert min(len(m) for s in grouping.spaces[:-1] for m in s.members) > 1
        tree(x, training=True)  # on JAX, Keras cannot mask the batch norm of a single channel


def test_a_layer_used_with_a_mask_and_without():
    inputs, mask = keras.Input((4, 5)), keras.Input((4,), dtype="bool")
    norm = layers.BatchNormalization(name="norm")
    x = norm(layers.Dense(8, name="fc1")(inputs))
    x = norm(layers.Dense(8, name="fc2")(x), mask=mask)
    x = layers.GlobalMaxPooling1D()(x)
    model = scramble(keras.Model([inputs, mask], layers.Dense(4, name="logits")(x)))
    rng = np.random.default_rng(0)
    plan = sn.SplitPlan.from_sections(model, [("fc1", 2)])
    grouping = random_grouping(plan, rng)
    x = [rng.normal(size=(3, 4, 5)).astype("float32"), rng.integers(0, 2, (3, 4)).astype(bool)]
    found = to_numpy(sn.split_model(model, grouping, plan).model(x))
    expected = masked_outputs(model, plan, grouping, x)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


def test_a_mask_of_masked_steps_is_read_whole_too():
    inputs = keras.Input((4, 6))
    x = layers.Dense(8, name="fc1")(layers.Masking()(inputs))
    x = layers.GlobalAveragePooling1D()(layers.Dense(8, name="fc2")(x))
    model = scramble(keras.Model(inputs, layers.Dense(4, name="logits")(x)))
    check_split(model, [("fc2", 2)])


def test_channels_first():
    """On TensorFlow and a CPU only oneDNN can; ``make test`` runs it on JAX as well."""
    kwargs = {"data_format": "channels_first"}
    try:
        layers.Conv2D(1, 1, **kwargs)(np.zeros((1, 1, 2, 2), "float32"))
    except Exception as error:
        if "NCHW" not in str(error):
            raise
        pytest.skip("TensorFlow has no channels-first convolution on this processor")
    inputs = keras.Input((3, 8, 8))
    x = layers.Conv2D(6, 3, padding="same", name="a", **kwargs)(inputs)
    x = layers.BatchNormalization(axis=1)(x)
    x = layers.ReLU()(x)
    y = layers.Conv2D(6, 3, padding="same", name="b", **kwargs)(x)
    x = layers.Concatenate(axis=1)([layers.Add()([x, y]), y])
    x = layers.MaxPooling2D(2, **kwargs)(x)
    flat = layers.Flatten(**kwargs)(x)
    pooled = layers.GlobalAveragePooling2D(**kwargs)(x)
    x = layers.Concatenate()([flat, pooled])
    model = scramble(keras.Model(inputs, layers.Dense(5, name="logits")(x)))
    for sections in ([("a", 2)], [("b", 3)], [("logits", 2)]):
        check_split(model, sections)


def test_a_subclass_that_computes_something_else_is_unknown():
    class Standardized(layers.Conv2D):
        def call(self, inputs):
            return super().call(inputs) / (1e-3 + ops.std(self.kernel))

    class ByHook(layers.Conv2D):
        def convolution_op(self, inputs, kernel):
            return super().convolution_op(inputs, kernel - ops.mean(kernel, axis=(0, 1, 2)))

    class ByKernel(layers.Dense):
        @property
        def kernel(self):
            return 2.0 * super().kernel

    class ByMerge(layers.Add):
        def _merge_function(self, inputs):
            return super()._merge_function(inputs)[..., ::-1]

    class Renamed(layers.Conv2D):
        def build(self, input_shape):
            super().build(input_shape)

    inputs = keras.Input((4, 4, 3))
    for strange in (Standardized(4, 1), ByHook(4, 1), ByKernel(4), lambda x: ByMerge()([x, x])):
        model = keras.Model(inputs, strange(inputs))
        with pytest.raises(sn.graph.UnknownLayerError, match="for which no layer rule is known"):
            sn.graph.trace(model)
    sn.graph.trace(keras.Model(inputs, Renamed(4, 1)(inputs)))


def test_an_activation_of_ones_own_is_made_known():
    @sn.register_activation
    @keras.saving.register_keras_serializable(package="tests")
    def doubled(x):
        return 2.0 * x

    check_split(image_net(lambda x: layers.Dense(6, activation=doubled)(x)), [("stem", 2)])


def test_what_keras_cannot_copy_is_named():
    model = image_net(lambda x: layers.Activation(lambda t: t + 1, name="plus")(x))
    plan = sn.SplitPlan.from_sections(model, [("logits", 2)])
    with pytest.raises(sn.PlanError, match="Layer 'plus' .Activation. cannot be made again"):
        sn.group_model(model, plan)
    model = image_net(lambda x: layers.Lambda(lambda t: t + 1, name="plus")(x))
    with pytest.raises(sn.PlanError, match="Layer 'plus' is a Lambda layer"):
        sn.SplitPlan.from_sections(model, [("logits", 2)])
