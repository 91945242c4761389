"""Models divided between devices: the same answers, and no channel sent that nobody reads."""

import keras
import numpy as np
import pytest
from hypothesis import given, note
from hypothesis import strategies as st
from keras import layers

import splitnet_tf as sn
from splitnet_tf.errors import ArgumentError, PlacementError
from splitnet_tf.graph import place_channels, trace
from splitnet_tf.graph.messages import Messages
from splitnet_tf.parallel.divided_model import DividedModel
from tests.conftest import to_numpy
from tests.sparsity.test_random_shrinks import DrawnShrunk
from tests.sparsity.zeros import difference, settle

pytestmark = pytest.mark.skipif(
    keras.backend.backend() != "tensorflow", reason="placement is TensorFlow's"
)


def zero_blocks(model, devices, dead):
    """Sets blocks of kernels to zero; ``dead(layer, source, target)`` says which."""
    traced = trace(model)
    for call in traced.graph.calls:
        if call.name not in traced.kernels:
            continue
        rows, columns = (devices.labels(traced, t) for t in (call.inputs[0], call.outputs[0]))
        mask = np.ones((len(rows), len(columns)))
        for i in range(devices.num_devices):
            for j in range(devices.num_devices):
                if i != j and dead(call.layer_name, i, j):
                    mask[np.ix_(rows == i, columns == j)] = 0
        rule = traced.rule(call)
        kernel = rule.kernel_of(call.op)
        kernel.assign(to_numpy(kernel) * (mask.T if rule.kernel_axes == (-1, -2) else mask))
    return model


def random_placement(model, rng, num_devices):
    """Random channels on each device, one at least."""
    found = {}
    for space in place_channels(model, num_devices).spaces:
        labels = rng.integers(0, num_devices, space.size)
        labels[rng.permutation(space.size)[:num_devices]] = np.arange(num_devices)
        found[space.name] = [np.flatnonzero(labels == d) for d in range(num_devices)]
    return found


@st.composite
def networks(draw):
    return DrawnShrunk(draw).model(), draw(st.integers(0, 10**6)), draw(st.integers(2, 3))


@given(networks())
def test_any_pattern_of_dead_blocks(network):
    model, seed, num_devices = network
    settle(model, seed)
    rng = np.random.default_rng(seed)
    placement = random_placement(model, rng, num_devices)
    devices = place_channels(model, num_devices, placement)
    share = rng.uniform()
    zero_blocks(model, devices, lambda *_: rng.random() < share)
    divided = sn.divide_model(model, num_devices, placement)
    note("\n".join(n.name for n in divided.nodes()))
    assert difference(model, divided.model, seed) <= 1e-5
    assert divided.bytes_crossing == Messages(trace(model), devices).bytes


def small_network():
    """A convolution on the images, a residual block, a dense layer, classes."""
    x = inputs = keras.Input((6, 6, 3))
    x = layers.Conv2D(4, 3, padding="same", activation="relu", name="first")(x)
    y = layers.Conv2D(4, 3, padding="same", activation="relu", name="inner")(x)
    x = layers.Add()([x, layers.Conv2D(4, 3, padding="same", name="outer")(y)])
    x = layers.Flatten()(layers.MaxPooling2D(2)(x))
    x = layers.Dense(6, activation="relu", name="dense")(x)
    return settle(keras.Model(inputs, layers.Dense(4, name="logits")(x)), 0)


def test_what_is_sent_is_what_is_read():
    model = small_network()
    devices = place_channels(model, 2)
    zero_blocks(model, devices, lambda layer, i, j: layer != "outer" or i == 0)
    kernel = model.get_layer("outer").kernel
    value = to_numpy(kernel).copy()
    value[:, :, 3, :2] = 0  # channels 0 and 1 are the first device's, 2 and 3 the second's
    kernel.assign(value)
    plan = Messages(trace(model), devices)
    (message,) = plan.messages_between
    assert (message.source, message.target, message.channels.tolist()) == (1, 0, [2])
    logits = 2 * 4  # two numbers of the second device's classes
    assert plan.bytes == sn.divide_model(model).bytes_crossing == 6 * 6 * 4 + logits
    names = [node.name for node in sn.divide_model(model).nodes()]
    assert names == ["part_0_0", "part_1_0", "part_0_1", "head"]


def test_without_blocks_each_device_works_alone_as_a_branch_does():
    model = small_network()
    devices = place_channels(model, 2)
    zero_blocks(model, devices, lambda *_: True)
    divided = sn.divide_model(model)
    assert [node.name for node in divided.nodes()] == ["part_0_0", "part_1_0", "head"]
    assert divided.bytes_crossing == 2 * 4  # the logits of the second device
    plan = sn.SplitPlan.from_sections(model, [("inner", 2)])
    tree = sn.split_model(model, sn.Grouping.even(plan), plan)
    x = np.random.default_rng(0).normal(size=(3, 6, 6, 3)).astype("float32")
    np.testing.assert_allclose(to_numpy(divided(x)), to_numpy(tree(x)), atol=1e-5)


def test_every_channel_is_sent_where_no_block_is_zero():
    model = small_network()
    everything = Messages(trace(model), place_channels(model, 2))
    assert everything.bytes == Messages(trace(model), place_channels(model, 2), True).bytes
    # first, inner: 2 of 4 channels each way at 36 places; pooled: 2 at 9 places; dense: 3; logits.
    assert everything.bytes == 4 * (2 * (2 * 36 + 2 * 36 + 2 * 9 + 3) + 2)


def test_layers_that_need_all_channels_are_named_and_computed_everywhere():
    x = inputs = keras.Input((5,))
    x = layers.Dense(4, name="first")(x)
    x = layers.LayerNormalization(name="norm")(x)
    x = layers.Dense(4, activation="softmax", name="second")(layers.ReLU()(x))
    model = settle(keras.Model(inputs, x), 1)
    divided = sn.divide_model(model)
    assert difference(model, divided.model) <= 1e-5
    plan = Messages(trace(model), place_channels(model, 2))
    assert plan.repeated == {"norm"} and len(plan.last) == 1
    (note,) = divided.notes
    assert note.startswith("layer 'norm' needs all channels: each device")


def test_a_divided_model_is_saved_placed_and_trained(tmp_path):
    model = small_network()
    devices = place_channels(model, 2)
    zero_blocks(model, devices, lambda layer, i, j: layer != "inner")
    divided = sn.divide_model(model)
    divided.save(tmp_path / "divided.keras")
    loaded = DividedModel(keras.models.load_model(tmp_path / "divided.keras"))
    assert loaded.bytes_crossing == divided.bytes_crossing
    x = np.random.default_rng(0).normal(size=(8, 6, 6, 3)).astype("float32")
    expected = to_numpy(model(x))
    placed = sn.place(loaded, ["/CPU:0", "/CPU:1"])
    np.testing.assert_allclose(to_numpy(placed(x)), expected, atol=1e-5)
    for node in placed.placement.nodes:
        for copy in placed.copies[node.name]:
            device = f"CPU:{node.devices[0]}"
            assert all(v.value.device.endswith(device) for v in copy.variables)
    assert placed.placement.bytes_crossing == divided.bytes_crossing
    assert "part_1_0" in str(placed.placement) and "trunk" not in str(placed.placement)
    labels = np.arange(8) % 4
    step = sn.PlacedTrainStep(placed, sn.CrossEntropy(), lambda: sn.SGD(0.0, momentum=0.9))
    losses = [float(step(x, labels, 0.05)["cross_entropy"]) for _ in range(5)]
    assert losses[-1] < losses[0]


def test_wrong_placements_are_refused():
    model = small_network()
    with pytest.raises(ArgumentError, match="`num_devices` must be 2 or more; got 1"):
        sn.divide_model(model, 1)
    with pytest.raises(ArgumentError, match="'images' is no channel space that can be divided"):
        sn.divide_model(model, 2, {"images": [[0], [1, 2]]})
    with pytest.raises(ArgumentError, match="'dense' needs channels for each of 3 devices"):
        sn.divide_model(model, 3, {"dense": [[0, 1, 2], [3, 4, 5], []]})
    with pytest.raises(ArgumentError, match="repeated: \\[1\\], missing: \\[2\\]"):
        sn.divide_model(model, 2, {"dense": [[0, 1, 3], [1, 4, 5]]})
    divided = sn.divide_model(model)
    with pytest.raises(PlacementError, match="must name 2 devices"):
        divided.placement(["/CPU:0"])
    with pytest.raises(PlacementError, match="is not divided between devices"):
        DividedModel(model)
