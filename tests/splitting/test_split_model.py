"""Promises 2, 3 and 5: the tree is exact for any grouping, and costs what is predicted."""

import subprocess
import sys

import keras
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from keras import layers

import splitnet_tf as sn
from splitnet_tf.graph.keras_reader import all_layers
from tests.conftest import random_grouping, scramble, small_alexnet, to_numpy
from tests.masked import masked_outputs


def check_split(model, sections, seed=0):
    rng = np.random.default_rng(seed)
    plan = sn.SplitPlan.from_sections(model, sections)
    grouping = random_grouping(plan, rng)
    tree = sn.split_model(model, grouping, plan)
    x = rng.normal(size=(3, *model.input_shape[1:])).astype("float32")
    expected = masked_outputs(model, plan, grouping, x)
    found = keras.ops.convert_to_numpy(tree.model(x, training=False))
    assert np.abs(expected).max() > 1e-3  # not trivially equal
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5 * np.abs(expected).max())
    predicted = sn.cost(model, plan, grouping)
    counted = sn.cost(tree.model)
    assert (predicted.params, predicted.flops) == (counted.params, counted.flops)
    for node in tree.nodes():
        own = sn.cost(node.model)
        assert predicted.nodes.get(node.name, (0, 0)) == (own.params, own.flops)
    return tree


WRN_SECTIONS = [
    [("logits", 4)],
    [("unit_3_0", 2), ("logits", 2)],
    [("unit_2_0", 2), ("unit_3_0", 2), ("logits", 2)],
    [("unit_2_0", 2), ("unit_3_0", 4), ("logits", 4)],
    [("unit_2_0", 3)],
    [("unit_2_0", 2), ("unit_3_0", 3), ("logits", 5)],
    [("init_conv", 2), ("unit_2_0", 3)],
]


@given(st.sampled_from(WRN_SECTIONS), st.integers(0, 10**6))
def test_wide_resnets_split_exactly(sections, seed):
    model = scramble(sn.models.wide_resnet(10, 1, 10, (8, 8, 3)), seed)
    check_split(model, sections, seed)


@given(
    st.sampled_from(
        [
            [("fc6", 2), ("fc7", 2), ("fc8", 2)],
            [("fc6", 2), ("fc7", 4), ("fc8", 8)],
            [("conv2", 2), ("fc7", 3)],
            [("fc8", 3)],
        ]
    ),
    st.integers(0, 10**6),
)
def test_alexnets_split_exactly(sections, seed):
    check_split(scramble(small_alexnet(), seed), sections, seed)


@given(st.integers(0, 10**6))
def test_perceptrons_split_exactly(seed):
    model = scramble(sn.models.mlp((11, 9, 12), 7, (3, 3, 2)), seed)
    check_split(model, [("fc2", 2), ("fc3", 3), ("logits", 5)], seed)


def dense_block():
    """Concatenations whose spaces are cut in several places."""
    inputs = keras.Input((6, 6, 3))
    x = layers.Conv2D(5, 3, padding="same", name="stem")(inputs)
    for i in range(3):
        y = layers.BatchNormalization(name=f"bn{i}")(x)
        y = layers.Conv2D(4, 3, padding="same", activation="relu", name=f"conv{i}")(y)
        x = layers.Concatenate(name=f"concat{i}")([x, y])
    y = layers.Conv2D(17, 1, name="mix")(x)
    x = layers.Add(name="sum")([x, y])
    x = layers.GlobalAveragePooling2D(name="pool")(x)
    return keras.Model(inputs, layers.Dense(6, name="logits")(x), name="dense_block")


@pytest.mark.parametrize("sections", [[("conv1", 2)], [("mix", 3)], [("conv0", 2), ("logits", 3)]])
def test_concatenations_split_exactly(sections):
    check_split(scramble(dense_block()), sections)


def test_a_softmax_over_the_classes_runs_after_the_merge():
    inputs = keras.Input((8,))
    x = layers.Dense(6, activation="relu", name="a")(inputs)
    x = layers.Dense(5, name="logits")(x)
    model = scramble(keras.Model(inputs, layers.Softmax(name="softmax")(x)))
    tree = check_split(model, [("a", 2)])
    np.testing.assert_allclose(to_numpy(tree.model(np.ones((2, 8)))).sum(axis=1), 1, rtol=1e-5)


@pytest.mark.parametrize("grouped", [False, True])
def test_a_softmax_in_the_last_layer_itself_runs_after_the_merge(grouped):
    inputs = keras.Input((8,))
    x = layers.Dense(6, activation="relu", name="a")(inputs)
    model = scramble(keras.Model(inputs, layers.Dense(5, activation="softmax", name="b")(x)))
    plain = model
    if grouped:
        model = sn.group_model(model, sn.SplitPlan.from_sections(model, [("a", 2)]))
    tree = check_split(model, [("a", 2)])
    x = np.random.default_rng(0).normal(size=(3, 8)).astype("float32")
    np.testing.assert_allclose(to_numpy(model(x)), to_numpy(plain(x)), rtol=1e-6)
    np.testing.assert_allclose(to_numpy(tree.model(x)).sum(axis=1), 1, rtol=1e-5)


def test_names_that_ours_would_take_split_exactly():
    """A space is called ``input`` here, a softmax ``b_activation``, a second use ``#1``."""
    inputs = keras.Input((8,), name="features")
    x = layers.Dense(6, activation="relu", name="input")(inputs)
    x = layers.Dense(6, name="fc#1")(x)
    x = layers.Dense(6, name="fc#2")(x)
    x = layers.Dense(5, activation="softmax", name="b")(x)
    model = scramble(keras.Model(inputs, layers.Activation("linear", name="b_activation")(x)))
    sections = [("fc_2", 2)]
    check_split(model, sections)
    grouped = sn.group_model(model, sn.SplitPlan.from_sections(model, sections))
    x = np.random.default_rng(0).normal(size=(3, 8)).astype("float32")
    np.testing.assert_allclose(to_numpy(grouped(x)), to_numpy(model(x)), rtol=1e-6)
    assert {"input", "fc_1", "fc_2", "b", "b_activation"} < {op.name for op in grouped.operations}


@pytest.mark.parametrize("start", ["fc", "x"])
def test_inputs_of_nodes_have_names_of_their_own(start):
    """``fc_1`` is a layer, and the second call of fc, and what group 1 makes of fc."""
    inputs = keras.Input((6,))
    shared = layers.Dense(6, name="fc")
    first = layers.Dense(6, name="fc_1")(inputs)
    tensors = [shared(first), first] if start == "fc" else [shared(shared(inputs)), first]
    x = layers.Dense(8, name="x")(layers.Concatenate()(tensors))
    model = scramble(keras.Model(inputs, [layers.Dense(4, name="logits")(x), *tensors]))
    plan = sn.SplitPlan.from_sections(model, [(start, 2)])
    grouping = random_grouping(plan, np.random.default_rng(0))
    tree, masked = sn.split_model(model, grouping, plan).model, sn.plain_copy(model)
    sn.splitting.mask_off_blocks(masked, grouping, plan)
    x = np.random.default_rng(0).normal(size=(3, 6)).astype("float32")
    for found, expected in zip(tree(x), masked(x), strict=True):
        np.testing.assert_allclose(to_numpy(found), to_numpy(expected), rtol=1e-4, atol=1e-5)


def test_operations_of_a_file_keep_clear_of_new_ones(tmp_path):
    """Keras names both ``concatenate`` when the count begins anew, as it does in a new process."""
    keras.utils.clear_session()
    inputs = keras.Input((8,))
    x = [layers.Dense(4, name=name)(inputs[..., :6]) for name in "ab"]
    x = keras.ops.concatenate(x, axis=-1)
    keras.Model(inputs, layers.Dense(4, name="logits")(x)).save(tmp_path / "net.keras")
    keras.utils.clear_session()
    model = keras.models.load_model(tmp_path / "net.keras")
    assert {"concatenate", "get_item"} < {op.name for op in model.operations}
    tree = check_split(scramble(model), [("logits", 2)])
    tree.save(tmp_path / "tree.keras")
    sn.SplitTree.load(tmp_path / "tree.keras")


def test_operations_of_nested_models_have_names_of_their_own():
    def nested():
        keras.utils.clear_session()
        inputs = keras.Input((6,))
        return keras.Model(inputs, keras.ops.relu(layers.Dense(6, name="a")(inputs)))

    first, second = nested(), nested()
    first.name, second.name = "first", "second"
    inputs = keras.Input((6,))
    x = layers.Dense(5, name="logits")(second(first(inputs)))
    check_split(scramble(keras.Model(inputs, x)), [("second_a", 2)])


def test_a_softmax_in_a_layer_keeps_the_layers_precision():
    inputs = keras.Input((8,))
    kinds = {"a": "mixed_bfloat16", "b": "float32"}
    x = layers.Dense(6, activation="relu", dtype=kinds["a"], name="a")(inputs)
    outputs = layers.Dense(5, activation="softmax", dtype=kinds["b"], name="b")(x)
    model = scramble(keras.Model(inputs, outputs))
    plan = sn.SplitPlan.from_sections(model, [("a", 2)])
    grouping = random_grouping(plan, np.random.default_rng(0))
    x = np.random.default_rng(0).normal(size=(3, 8)).astype("float32")
    keras.mixed_precision.set_global_policy("mixed_float16")
    try:
        grouped, tree = sn.group_model(model, plan), sn.split_model(model, grouping).model
    finally:
        keras.mixed_precision.set_global_policy("float32")
    for made in (grouped, tree):
        assert keras.backend.standardize_dtype(made(x).dtype) == "float32"
    # A probability in half precision is off by more than this.
    np.testing.assert_allclose(to_numpy(grouped(x)), to_numpy(model(x)), rtol=1e-6)


@keras.saving.register_keras_serializable(package="tests")
class SixNumbers(keras.initializers.Initializer):
    def __call__(self, shape, dtype=None):
        return keras.ops.reshape(keras.ops.arange(6, dtype=dtype), shape)


def test_initializers_made_for_all_channels_split_exactly():
    inputs = keras.Input((8,))
    start = keras.initializers.Constant(np.log([0.1, 0.2, 0.3, 0.4]))
    x = layers.Dense(6, bias_initializer=SixNumbers(), kernel_initializer="he_normal", name="a")(
        inputs
    )
    x = layers.BatchNormalization(beta_initializer=SixNumbers())(x)
    x = layers.Dense(4, bias_initializer=start, name="logits")(x)
    tree = check_split(scramble(keras.Model(inputs, x)), [("a", 2)])
    kinds = {type(x.kernel_initializer) for x in all_layers(tree.model) if hasattr(x, "kernel")}
    assert kinds == {keras.initializers.HeNormal, keras.initializers.GlorotUniform}


def test_several_inputs_and_outputs():
    """a -> c, b -> c, with the trunk's features and a branch's as further outputs."""
    first, second = keras.Input((6,), name="first"), keras.Input((4,), name="second")
    a = layers.Dense(8, name="a")(first)
    b = layers.Dense(8, name="b")(second)
    x = layers.Add(name="sum")([a, b])
    y = layers.Dense(7, activation="relu", name="c")(x)
    z = layers.Dense(5, name="logits")(y)
    model = scramble(keras.Model([first, second], [z, x, y]))
    rng = np.random.default_rng(0)
    plan = sn.SplitPlan.from_sections(model, [("c", 2), ("logits", 3)])
    grouping = random_grouping(plan, rng)
    tree = sn.split_model(model, grouping)
    masked = sn.plain_copy(model)
    sn.splitting.mask_off_blocks(masked, grouping, plan)
    images = [rng.normal(size=(3, n)).astype("float32") for n in (6, 4)]
    for found, expected in zip(tree.model(images), masked(images), strict=True):
        np.testing.assert_allclose(to_numpy(found), to_numpy(expected), rtol=1e-4, atol=1e-5)


def test_a_block_without_a_trunk_is_cut_at_the_input():
    inputs = keras.Input((8,))
    x = layers.Dense(6, activation="relu", name="a")(inputs)
    check_split(scramble(keras.Model(inputs, layers.Dense(4, name="b")(x))), [("a", 2)])


def test_shared_layers_and_nested_models_split_exactly():
    inputs = keras.Input((8,))
    a = layers.Dense(6, name="a")(inputs)
    shared = layers.Dense(6, activation="tanh", name="s")
    inner_in = keras.Input((6,))
    inner = keras.Model(inner_in, layers.Dense(7, name="d")(inner_in), name="inner")
    x = inner(shared(shared(a)))
    model = scramble(keras.Model(inputs, layers.Dense(5, name="logits")(x)))
    check_split(model, [("s", 2), ("logits", 2)])


def test_a_tree_is_split_from_the_grouped_model_too():
    model = scramble(sn.models.wide_resnet(10, 1, 10, (8, 8, 3)))
    plan = sn.SplitPlan.from_sections(model, [("unit_2_0", 2)])
    grouped = sn.group_model(model, plan, seed=3)
    grouping = sn.read_grouping(grouped, "balanced")
    x = np.random.default_rng(0).normal(size=(2, 8, 8, 3)).astype("float32")
    found = to_numpy(sn.split_model(grouped, grouping).model(x))
    expected = masked_outputs(model, plan, grouping, x)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-6 * np.abs(expected).max())


def test_branches_hold_no_gather_and_only_stock_layers():
    model = scramble(sn.models.wide_resnet(10, 1, 10, (8, 8, 3)))
    tree = check_split(model, [("unit_2_0", 2), ("unit_3_0", 4)])
    assert [n.name for n in tree.nodes()] == [
        "trunk",
        "branch_0",
        "branch_0_0",
        "branch_0_1",
        "branch_1",
        "branch_1_0",
        "branch_1_1",
        "head",
    ]
    for node in tree.nodes():
        kinds = {type(op).__name__ for op in node.model.operations}
        assert not kinds & {"Transpose", "Permute"}
        if node.name != "head":
            assert "Take" not in kinds
    modules = {type(layer).__module__.split(".")[0] for layer in all_layers(tree.model)}
    assert modules == {"keras"}
    names = [layer.name for layer in all_layers(tree.model) if layer.weights]
    assert len(names) == len(set(names))


def test_a_saved_tree_loads_without_this_package(tmp_path):
    model = scramble(sn.models.wide_resnet(10, 1, 10, (8, 8, 3)))
    tree = check_split(model, [("unit_2_0", 2), ("unit_3_0", 4)])
    tree.save(tmp_path / "tree.keras")
    x = np.random.default_rng(0).normal(size=(2, 8, 8, 3)).astype("float32")
    np.save(tmp_path / "x.npy", x, allow_pickle=False)
    code = (
        "import sys, keras, numpy as np\n"
        f"model = keras.models.load_model(r'{tmp_path}/tree.keras')\n"
        f"y = model(np.load(r'{tmp_path}/x.npy', allow_pickle=False))\n"
        "assert not any(m.startswith('splitnet_tf') for m in sys.modules)\n"
        f"np.save(r'{tmp_path}/y.npy', keras.ops.convert_to_numpy(y), allow_pickle=False)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=tmp_path)
    found = np.load(tmp_path / "y.npy", allow_pickle=False)
    np.testing.assert_allclose(found, to_numpy(tree.model(x)), rtol=1e-6, atol=1e-6)
    again = sn.SplitTree.load(tmp_path / "tree.keras")
    assert [n.name for n in again.nodes()] == [n.name for n in tree.nodes()]
    assert [n.feeds for n in again.nodes()] == [n.feeds for n in tree.nodes()]


def test_nodes_fed_by_hand_compute_what_the_tree_computes():
    model = scramble(sn.models.wide_resnet(10, 1, 10, (8, 8, 3)))
    tree = check_split(model, [("unit_2_0", 2), ("unit_3_0", 4)])
    x = np.random.default_rng(0).normal(size=(2, 8, 8, 3)).astype("float32")
    made = {}
    for node in tree.nodes():
        feeds = [x if f.source is None else made[f.source][f.index] for f in node.feeds]
        out = node.model(feeds if len(feeds) > 1 else feeds[0])
        made[node.name] = keras.tree.flatten(out)
    np.testing.assert_allclose(
        to_numpy(made["head"][0]), to_numpy(tree.model(x)), rtol=1e-5, atol=1e-6
    )


def test_dropout_layers_of_the_tree_get_their_own_rate():
    inputs = keras.Input((4, 4, 6))
    x = layers.SpatialDropout2D(0.3, name="below")(inputs)
    x = layers.Conv2D(8, 3, activation="relu", name="conv")(x)
    x = layers.Dropout(0.5, name="split")(layers.Dropout(0.0, name="none")(x))
    x = layers.GaussianDropout(0.2, name="noise")(x)
    model = keras.Model(inputs, layers.Conv2D(4, 1, name="last")(x))
    plan = sn.SplitPlan.from_sections(model, [("conv", 2)])
    grouping = random_grouping(plan, np.random.default_rng(0))

    def rates(dropout):
        tree = sn.split_model(model, grouping, plan, dropout)
        found = [x for x in all_layers(tree.model) if hasattr(x, "rate")]
        return sorted((x.name.split("_", 1)[1], x.rate) for x in found)

    for dropout, below, split in ((None, 0.3, 0.5), (0.0, 0.0, 0.0), (0.25, 0.25, 0.25)):
        own = {"none": 0.0, "split": split, "noise": 0.2}
        branches = [(f"{g}_{name}", rate) for g in (0, 1) for name, rate in own.items()]
        assert rates(dropout) == sorted([("below", below), *branches])


def test_a_grouping_of_another_plan_is_refused():
    model = small_alexnet()
    rng = np.random.default_rng(0)
    plan = sn.SplitPlan.from_sections(model, [("fc7", 2)])
    other = sn.SplitPlan.from_sections(model, [("fc6", 2)])
    with pytest.raises(sn.GroupingError, match="lacks space 'conv2'"):
        sn.split_model(model, random_grouping(plan, rng), other)
    more = sn.SplitPlan.from_sections(model, [("fc7", 3)])
    with pytest.raises(
        sn.GroupingError, match="16 channels in 3 groups, but the grouping has 16 in 2"
    ):
        sn.split_model(model, random_grouping(plan, rng), more)


def test_a_plain_model_is_no_tree():
    with pytest.raises(sn.SplitNetError, match="is not a tree of branches"):
        sn.SplitTree(small_alexnet())
