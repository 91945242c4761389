"""Trees placed on three logical CPU devices: the same answers, each node where it should be."""

import re

import keras
import numpy as np
import pytest
from keras import layers

import splitnet_tf as sn
from splitnet_tf.analysis import make_placement
from splitnet_tf.errors import ArgumentError, PlacementError
from splitnet_tf.parallel import PlacedTrainStep, place
from splitnet_tf.recipe import SGD, AdamW, CrossEntropy
from splitnet_tf.runs.checkpoints import restore_newest, save_checkpoint
from splitnet_tf.training import TrainStep
from tests.conftest import random_grouping, scramble
from tests.recipe.test_optimizers import Shrink

pytestmark = pytest.mark.skipif(
    keras.backend.backend() != "tensorflow", reason="placement is TensorFlow's"
)

DEVICES = ["/CPU:0", "/CPU:1", "/CPU:2"]
MODES = ["replicate", "separate", "shard"]
SECTIONS = {
    "deep 2": [("unit", 2)],
    "hierarchical": [("unit", 2), ("conv_3", 4)],
    "deep 3": [("unit", 3)],
    "last": [("logits", 4)],
}


def residual_network():
    """A unit of a Wide ResNet, a layer below it and one above: soon traced and placed."""
    x = inputs = keras.Input((8, 8, 3))
    x = layers.Conv2D(8, 3, padding="same", use_bias=False, name="init_conv")(x)
    x = start = layers.ReLU()(layers.BatchNormalization()(x))
    x = layers.Conv2D(12, 3, 2, padding="same", use_bias=False, name="unit_conv_1")(x)
    x = layers.ReLU()(layers.BatchNormalization()(x))
    x = layers.Conv2D(12, 3, padding="same", use_bias=False, name="unit_conv_2")(x)
    x = layers.Add()([x, layers.Conv2D(12, 1, 2, use_bias=False, name="unit_shortcut")(start)])
    x = layers.ReLU()(layers.BatchNormalization()(x))
    x = layers.Conv2D(16, 3, padding="same", use_bias=False, name="conv_3")(x)
    x = layers.GlobalAveragePooling2D()(layers.ReLU()(layers.BatchNormalization()(x)))
    return keras.Model(inputs, layers.Dense(10, name="logits")(x))


def make_tree(kind):
    model = scramble(residual_network())
    plan = sn.SplitPlan.from_sections(model, SECTIONS[kind])
    return sn.split_model(model, random_grouping(plan, np.random.default_rng(0)), plan)


def nesterov():
    return SGD(0.0, momentum=0.9, nesterov=True)


def placed_step(placed, loss=None, make_optimizer=nesterov):
    return PlacedTrainStep(placed, loss or CrossEntropy(), make_optimizer, l2=1e-3)


def whole_step(model, loss=None, make_optimizer=nesterov):
    return TrainStep(model, loss or CrossEntropy(), make_optimizer(), l2=1e-3)


def dense_tree():
    """Without batch norm, and with a loss of its own."""
    keras.utils.set_random_seed(0)
    inputs = keras.Input((6,))
    x = keras.layers.Dense(8, activation="relu", kernel_regularizer="l2", name="a")(inputs)
    x = keras.layers.Dense(8, activation="relu", name="b")(x)
    model = scramble(keras.Model(inputs, keras.layers.Dense(4, name="logits")(x)))
    plan = sn.SplitPlan.from_sections(model, [("b", 2)])
    return sn.split_model(model, random_grouping(plan, np.random.default_rng(0)), plan)


@pytest.fixture(scope="module", params=SECTIONS)
def tree(request):
    return make_tree(request.param)


@pytest.fixture(scope="module", params=MODES)
def placed(request, tree):
    return place(tree, DEVICES, request.param)


def assert_same(found, expected):
    """Equal to 1e-5 of the largest logit: the kernels round differently."""
    assert found.shape == expected.shape
    assert np.abs(found.numpy() - expected).max() < 1e-5 * np.abs(expected).max()


@pytest.mark.parametrize("batch", [1, 2, 7, 12])
def test_a_placed_tree_computes_what_the_tree_computes(placed, batch):
    x = np.random.default_rng(batch).normal(size=(batch, 8, 8, 3)).astype("float32")
    expected = placed.tree.model(x, training=False).numpy()
    assert_same(placed(x), expected)


def test_a_stream_of_batches_comes_out_in_order(placed):
    rng = np.random.default_rng(0)
    batches = [rng.normal(size=(n, 8, 8, 3)).astype("float32") for n in (4, 4, 3, 1)]
    found = list(placed.stream(iter(batches)))
    assert len(found) == 4
    for x, y in zip(batches, found, strict=True):
        expected = placed.tree.model(x, training=False).numpy()
        assert_same(y, expected)
    assert list(placed.stream([])) == []


def test_placing_is_at_the_top_of_the_package():
    assert sn.place is place
    assert sn.PlacedTrainStep is PlacedTrainStep


def test_every_node_is_on_its_device(placed):
    """From the variables, and from the traced graph."""
    seen = set()
    for node in placed.placement.nodes:
        for copy, device in enumerate(node.devices):
            number = int(DEVICES[device][-1])
            for variable in placed.copies[node.name][copy].variables:
                assert variable.value.device.endswith(f"CPU:{number}"), variable.path
    for op in placed.graph().get_operations():
        found = re.match(r"(\w+)\.(\d+)/", op.name)
        # Reading a variable happens where the variable is, which is checked above.
        if not found or op.type in ("Const", "Placeholder", "ReadVariableOp"):
            continue
        name, copy = found[1], int(found[2])
        assert op.device.endswith(f"CPU:{DEVICES[_node(placed, name).devices[copy]][-1]}"), op.name
        if op.type == "Conv2D":
            seen.add((name, copy))
    assert seen == {
        (n.name, c)
        for n in placed.placement.nodes
        for c in range(len(n.devices))
        if any(isinstance(x, keras.layers.Conv2D) for x in placed.nodes[n.name].model.layers)
    }


def _node(placed, name):
    return next(n for n in placed.placement.nodes if n.name == name)


@pytest.mark.parametrize("mode", MODES)
def test_devices_are_all_used_and_the_plan_adds_up(mode):
    tree = make_tree("hierarchical")
    placement = make_placement(tree, DEVICES, mode)
    whole = sn.cost(tree.model)
    own = sum(n.params for n in placement.nodes if n.name != "trunk")
    trunk = sn.cost(tree.trunk.model)
    assert own + trunk.params == whole.params
    copies = len(placement.nodes[0].devices)
    held = sum(placement.params_on(d) for d in range(3))
    assert held == whole.params + (copies - 1) * trunk.params
    done = sum(placement.flops_on(d) for d in range(3))
    more = (copies - 1) * trunk.flops if mode == "replicate" else 0
    assert done == pytest.approx(whole.flops + more)
    assert all(placement.flops_on(d) > 0 for d in range(3))
    text = str(placement)
    assert f"trunk: {mode}" in text and "/CPU:2" in text


def test_bytes_that_cross_are_those_of_the_tensors():
    """Deep split in two over two devices, counted by hand in float32."""
    tree = make_tree("deep 2")
    read = [4 * int(np.prod(n.model.input_shape[1:])) for n in tree.branches]
    logits = [4 * n.model.output_shape[-1] for n in tree.branches]
    image = 4 * 8 * 8 * 3
    two = DEVICES[:2]
    replicate = make_placement(tree, two, "replicate")
    other = next(i for i, n in enumerate(tree.branches) if replicate.device_of(n.name) == 1)
    assert replicate.bytes_crossing == logits[other]
    assert [t.bytes for t in replicate.transfers if t.source < 0] == [image, image]
    shard = make_placement(tree, two, "shard")
    assert shard.bytes_crossing == sum(read) / 2 + logits[other]
    assert [t.bytes for t in shard.transfers if t.source < 0] == [image / 2, image / 2]
    separate = make_placement(tree, DEVICES, "separate")
    assert separate.bytes_crossing == sum(read) + sum(logits)


def test_more_devices_than_branches_and_the_reverse():
    x = np.random.default_rng(0).normal(size=(3, 8, 8, 3)).astype("float32")
    for kind, devices in (
        ("deep 2", DEVICES),
        ("last", DEVICES[:2]),
        ("hierarchical", DEVICES[:1]),
    ):
        tree = make_tree(kind)
        for mode in ("replicate", "shard"):
            assert_same(place(tree, devices, mode)(x), tree.model(x).numpy())


@pytest.mark.parametrize("mode", MODES)
def test_a_placed_step_is_the_step_of_the_tree(mode):
    """Weights after three steps, but for ``shard``: its trunk's batch norm sees shares."""
    tree = make_tree("hierarchical")
    placed = place(tree, DEVICES, mode)
    step, reference = placed_step(placed), whole_step(tree.model)
    rng = np.random.default_rng(0)
    for _ in range(3):
        x = rng.normal(size=(12, 8, 8, 3)).astype("float32")
        y = rng.integers(0, 10, 12).astype("int32")
        ours, theirs = step(x, y, 0.05), reference(x, y, 0.05)
        if mode != "shard":
            assert float(ours["cross_entropy"]) == pytest.approx(
                float(theirs["cross_entropy"]), rel=1e-4
            )
    for name, copies in placed.copies.items():
        for copy in copies[1:]:
            for a, b in zip(copy.variables, copies[0].variables, strict=True):
                np.testing.assert_allclose(a.numpy(), b.numpy(), rtol=1e-5, atol=1e-6)
        if mode == "shard":
            continue
        expected = placed.nodes[name].model.get_weights()
        for found, wanted in zip(copies[0].get_weights(), expected, strict=True):
            np.testing.assert_allclose(found, wanted, rtol=2e-3, atol=2e-4)


def test_a_sharded_step_without_batch_norm_is_the_step_of_the_tree():
    tree = dense_tree()
    loss = CrossEntropy(0.1)
    placed = place(tree, DEVICES, "shard")
    step, reference = placed_step(placed, loss), whole_step(tree.model, loss)
    rng = np.random.default_rng(0)
    for batch in (7, 3, 1):
        x = rng.normal(size=(batch, 6)).astype("float32")
        y = rng.integers(0, 4, batch).astype("int32")
        ours, theirs = step(x, y, 0.1), reference(x, y, 0.1)
        for name in ("cross_entropy", "model_losses", "accuracy"):
            assert float(ours[name]) == pytest.approx(float(theirs[name]), rel=1e-5)
        assert float(ours["model_losses"]) > 0
    expected = tree.model.get_weights()
    placed.gather()
    for found, wanted in zip(tree.model.get_weights(), expected, strict=True):
        np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-5)


OPTIMIZERS = {
    "sgd": lambda: SGD(0.0, momentum=0.9, after_step=Shrink()),
    "adamw": lambda: AdamW(0.0, after_step=Shrink(), use_ema=True, ema_momentum=0.5),
}


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_sample_weights_one_hot_labels_and_the_step_after_the_step(optimizer, mode):
    tree, make = dense_tree(), OPTIMIZERS[optimizer]
    placed = place(tree, DEVICES, mode)
    step, reference = placed_step(placed, None, make), whole_step(tree.model, None, make)
    rng = np.random.default_rng(0)
    for _ in range(3):
        x, weights = rng.normal(size=(7, 6)).astype("float32"), rng.random(7).astype("float32")
        y = np.eye(4, dtype="float32")[rng.integers(0, 4, 7)]
        found, expected = (s(x, y, 0.05, weights) for s in (step, reference))
        for name in ("cross_entropy", "accuracy"):
            assert float(found[name]) == pytest.approx(float(expected[name]), rel=1e-5)
    assert step.finish() == reference.finish() == (optimizer == "adamw")
    expected = tree.model.get_weights()
    if optimizer == "sgd":  # averages have no zeros
        assert sum(np.sum(w == 0) for w in expected if w.ndim == 2) > 0
    placed.gather()
    for found, wanted in zip(tree.model.get_weights(), expected, strict=True):
        np.testing.assert_allclose(found, wanted, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize(
    ("kind", "make"),
    [
        ("hierarchical", nesterov),
        ("deep 2", lambda: SGD(0.0)),
        ("deep 2", lambda: AdamW(0.0, use_ema=True)),
    ],
    ids=["momentum", "plain", "adamw with averages"],
)
def test_a_run_moves_from_one_placement_to_another_and_to_none(tmp_path, kind, make):
    tree = make_tree(kind)
    rng = np.random.default_rng(0)
    x = rng.normal(size=(12, 8, 8, 3)).astype("float32")
    y = rng.integers(0, 10, 12).astype("int32")
    first = placed_step(place(tree, DEVICES, "shard"), None, make)
    first(x, y, 0.05)
    save_checkpoint(tmp_path, "step", 1, first.variables, {})
    other = make_tree(kind)
    steps = [
        placed_step(place(other, DEVICES[:2], "replicate"), None, make),
        whole_step(other.model, None, make),
    ]
    for step in steps:
        restore_newest(tmp_path, "step", step.variables)
        step(x, y, 0.05)  # with the momentum of the first step, or they would differ
    moved = [np.asarray(v) for v in steps[0].variables]
    for found, wanted in zip(moved, steps[1].variables, strict=True):
        np.testing.assert_allclose(found, np.asarray(wanted), rtol=2e-3, atol=2e-4)
    assert np.abs(moved[0] - np.asarray(first.variables[0])).max() > 1e-3


def test_backward_products_run_on_the_device_of_their_node():
    tree = make_tree("deep 3")
    placed = place(tree, DEVICES, "replicate")
    batch = np.zeros((4, 8, 8, 3), "float32"), np.zeros(4, "int32")
    graph = placed_step(placed).graph(*batch)
    counts = dict.fromkeys(DEVICES, 0)
    for op in graph.get_operations():
        if op.type in ("Conv2DBackpropFilter", "Conv2DBackpropInput"):
            counts[f"/CPU:{op.device[-1]}"] += 1
    assert len(set(counts.values())) == 1 and counts[DEVICES[0]] > 0, counts


def test_impossible_placements_are_refused():
    tree = make_tree("last")
    for devices, mode, sentence in (
        (["/CPU:9"], "replicate", "Device '/CPU:9' is not there; there are CPU:0, CPU:1, CPU:2"),
        (["/CPU:0"], "separate", "`trunk=separate` needs two devices or more"),
        ([], "shard", "`devices` must name one device or more"),
        (["/CPU:0", "/CPU:0"], "shard", "each once"),
        (["/CPU:0"], "other", "`trunk` must be one of replicate, separate, shard; got 'other'"),
    ):
        with pytest.raises(PlacementError, match=re.escape(sentence)):
            place(tree, devices, mode)


def test_optimizers_that_cannot_be_one_of_several_are_refused():
    placed = place(dense_tree(), DEVICES, "replicate")
    with pytest.raises(ArgumentError, match="`global_clipnorm` does not work across devices"):
        placed_step(placed, None, lambda: SGD(0.0, global_clipnorm=1.0))
    schedule = keras.optimizers.schedules.CosineDecay(0.1, 10)
    with pytest.raises(ArgumentError, match="`optimizer` has a learning rate of its own"):
        placed_step(placed, None, lambda: SGD(schedule))


def test_a_tree_in_float16_is_refused():
    inputs = keras.Input((6,))
    x = keras.layers.Dense(8, name="b", dtype="mixed_float16")(inputs)
    model = keras.Model(inputs, keras.layers.Dense(4, name="logits", dtype="mixed_float16")(x))
    plan = sn.SplitPlan.from_sections(model, [("b", 2)])
    tree = sn.split_model(model, random_grouping(plan, np.random.default_rng(0)), plan)
    with pytest.raises(ArgumentError, match="A tree in float16 does not train on several devices"):
        placed_step(place(tree, DEVICES, "replicate"))
