"""Steps and inference in bfloat16: the layers compute in it; weights, losses and outputs do not."""

import keras
import numpy as np
import pytest

import splitnet_tf as sn
from splitnet_tf.graph.mixed_precision import bfloat16_layers, in_bfloat16
from splitnet_tf.parallel import PlacedTrainStep, place
from splitnet_tf.recipe import SGD, CrossEntropy
from splitnet_tf.training import TrainStep, compiled_forward
from tests.conftest import random_grouping

SECTIONS = [("unit_2_0", 2), ("unit_3_0", 4)]


def make_optimizer():
    return SGD(0.0, momentum=0.9, nesterov=True)


def make_step(model, bfloat16=True):
    return TrainStep(model, CrossEntropy(), make_optimizer(), l2=1e-3, bfloat16=bfloat16)


def make(grouped=True):
    keras.utils.set_random_seed(0)
    model = sn.models.wide_resnet(10, 1, 10, (8, 8, 3))
    plan = sn.SplitPlan.from_sections(model, SECTIONS)
    if grouped:
        return sn.group_model(model, plan, seed=0)
    return sn.split_model(model, random_grouping(plan, np.random.default_rng(0)), plan)


def batch():
    rng = np.random.default_rng(1)
    return rng.normal(size=(32, 8, 8, 3)).astype("float32"), rng.integers(0, 10, 32).astype("int32")


def kernel_types(graph):
    """Type of what every convolution multiplies, forward and backward."""
    kinds = ("Conv2D", "Conv2DBackpropInput", "Conv2DBackpropFilter")
    return [op.get_attr("T").name for op in graph.get_operations() if op.type in kinds]


def test_a_step_is_near_that_in_float32():
    models = make(), make()
    steps = [make_step(m, half) for m, half in zip(models, (False, True), strict=True)]
    start = [v.numpy() for v in models[0].trainable_variables]
    exact, found = (step(*batch(), 0.01) for step in steps)
    assert 0 < abs(float(found["cross_entropy"]) / float(exact["cross_entropy"]) - 1) < 0.03
    for i in range(3):  # of float32 kernels and assignments: no rounding to 8 bits
        loss = f"model_loss_{i}"
        assert float(found[loss]) == pytest.approx(float(exact[loss]), rel=1e-6)
    moves = [
        np.concatenate([(v.numpy() - s).ravel() for v, s in zip(vs, start, strict=True)])
        for vs in (m.trainable_variables for m in models)
    ]
    angle = moves[0] @ moves[1] / np.linalg.norm(moves[0]) / np.linalg.norm(moves[1])
    assert angle > 0.99 and not np.array_equal(*moves)


def test_convolutions_run_in_bfloat16_and_the_model_stays_as_it_was():
    model = make()
    config = model.get_config()
    step = make_step(model)
    step(*batch(), 0.01)
    graph = step.graph(*batch())
    types = kernel_types(graph)
    assert types and set(types) == {"bfloat16"}
    norms = [op for op in graph.get_operations() if op.type == "FusedBatchNormV3"]
    assert norms and all(op.get_attr("U").name == "float32" for op in norms)
    assert model.get_config() == config
    assert {v.dtype for v in step.variables if "float" in v.dtype} == {"float32"}
    assert model(batch()[0]).dtype == "float32"


def test_layers_of_another_policy_are_left_alone():
    inputs = keras.Input((4,))
    x = keras.layers.Dense(3, dtype="float64", name="own")(inputs)
    model = keras.Model(inputs, keras.layers.Dense(2, name="plain")(x))
    with pytest.raises(RuntimeError), bfloat16_layers(model):
        assert model.get_layer("own").compute_dtype == "float64"
        assert model.get_layer("plain").compute_dtype == "bfloat16"
        raise RuntimeError
    assert model.get_layer("plain").dtype_policy.name == "float32"
    with bfloat16_layers(model, wanted=False):
        assert model.get_layer("plain").compute_dtype == "float32"


@pytest.mark.parametrize("mode", ["replicate", "separate", "shard"])
def test_a_placed_step_is_that_of_the_tree(mode):
    tree = make(grouped=False)
    branch = tree.branches[0].model.trainable_variables
    start = [v.numpy() for v in branch]
    placed = place(tree, ["/CPU:0", "/CPU:1"], mode)
    step = PlacedTrainStep(placed, CrossEntropy(), make_optimizer, l2=1e-3, bfloat16=True)
    found = step(*batch(), 0.01)
    types = kernel_types(step.graph(*batch()))
    assert types and set(types) == {"bfloat16"}
    exact = make_step(tree.model)(*batch(), 0.01)
    assert float(found["cross_entropy"]) == pytest.approx(float(exact["cross_entropy"]), rel=0.05)
    placed = step.placed.copies[tree.branches[0].name][0].trainable_variables
    ours, theirs = (
        np.concatenate([(v.numpy() - s).ravel() for v, s in zip(vs, start, strict=True)])
        for vs in (placed, branch)
    )
    if mode != "shard":  # there batch norm sees each device's share alone
        size = np.linalg.norm(ours), np.linalg.norm(theirs)
        assert ours @ theirs / size[0] / size[1] > 0.95 and 0.9 < size[0] / size[1] < 1.1
    assert {v.dtype for v in step.placed.copies[tree.trunk.name][0].variables} == {"float32"}


def near(found, wanted):
    """Apart by the rounding of bfloat16, and by more than that of float32."""
    apart = np.abs(np.asarray(found) - np.asarray(wanted)).max() / np.abs(wanted).max()
    return found.dtype == "float32" and 1e-5 < apart < 0.03


def small_tree():
    keras.utils.set_random_seed(0)
    inputs = keras.Input((8, 8, 3))
    x = keras.layers.Conv2D(6, 3, name="a")(inputs)
    x = keras.layers.Conv2D(8, 3, activation="relu", name="b")(keras.layers.BatchNormalization()(x))
    x = keras.layers.GlobalAveragePooling2D()(x)
    model = keras.Model(inputs, keras.layers.Dense(10, name="logits")(x))
    plan = sn.SplitPlan.from_sections(model, [("b", 2)])
    return sn.split_model(model, random_grouping(plan, np.random.default_rng(0)), plan)


def test_inference_is_near_that_in_float32():
    tree = small_tree()
    images, config = batch()[0], tree.model.get_config()
    wanted = tree.model(images).numpy()
    forward = compiled_forward(tree.model, bfloat16=True)
    found = forward(images)
    assert near(found, wanted)
    graph = forward.get_concrete_function(images).graph
    assert set(kernel_types(graph)) == {"bfloat16"}
    same = in_bfloat16(tree.model)
    assert near(same(images), wanted) and near(tree.compiled(bfloat16=True)(images), wanted)
    assert [w is v for w, v in zip(same.weights, tree.model.weights, strict=True)].count(False) == 0
    np.testing.assert_array_equal(tree.model(images).numpy(), wanted)
    assert tree.model.get_config() == config


def test_a_placed_tree_sends_bfloat16():
    tree, images = small_tree(), batch()[0]
    exact, placed = (place(tree, ["/CPU:0", "/CPU:1"], "shard", bfloat16=b) for b in (False, True))
    assert near(placed(images), tree.model(images).numpy())
    assert set(kernel_types(placed.graph())) == {"bfloat16"}
    assert 2 * placed.placement.bytes_crossing == exact.placement.bytes_crossing > 0
