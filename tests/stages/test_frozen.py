"""Frozen layers stay as they are: through grouping, training, cut, files and finetuning."""

import keras
import numpy as np
import pytest
from keras import layers

import splitnet_tf as sn
from splitnet_tf.graph.keras_reader import all_layers
from splitnet_tf.splitting import SplitTree
from tests.conftest import to_numpy

SECTIONS = [("c", 2), ("logits", 2)]
FROZEN = {"backbone_f1", "backbone_n1", "backbone_f2", "backbone_n2", "mid", "n4"}
STOCK = ("kernel", "bias", "gamma", "beta", "moving_mean", "moving_variance")
STEPS = {"loop": sn.Loop(max_steps=4)}


def make_network():
    """A frozen backbone as a layer, and two frozen layers inside what is split."""
    keras.utils.set_random_seed(5)
    images = keras.Input((16, 16, 3))
    x = layers.Conv2D(8, 3, strides=2, name="f1")(images)
    x = layers.ReLU(name="r1")(layers.BatchNormalization(name="n1")(x))
    x = layers.Conv2D(8, 3, strides=2, name="f2")(x)
    backbone = keras.Model(images, layers.BatchNormalization(name="n2")(x), name="backbone")
    images = keras.Input((16, 16, 3), name="image")
    x = layers.Conv2D(16, 3, name="c")(backbone(images, training=False))
    x = layers.ReLU(name="r3")(layers.BatchNormalization(name="n3")(x))
    x = layers.GlobalAveragePooling2D(name="pool")(x)
    x = layers.BatchNormalization(name="n4")(layers.Dense(16, name="mid")(x))
    model = keras.Model(images, layers.Dense(8, name="logits")(x), name="transfer")
    rng = np.random.default_rng(0)
    for layer in (backbone, model.get_layer("mid"), model.get_layer("n4")):
        layer.set_weights([w + rng.uniform(0.1, 0.2, w.shape) for w in layer.get_weights()])
        layer.trainable = False
    return model


def frozen(model):
    """Weights of the frozen layers, by layer, without what grouped layers hold besides."""
    return {
        layer.name: [to_numpy(w) for w in layer.weights if w.name in STOCK]
        for layer in all_layers(model)
        if layer.weights and not layer.trainable and not isinstance(layer, keras.Model)
    }


def check_unchanged(found, wanted):
    assert found.keys() == wanted.keys()
    for name, weights in wanted.items():
        for a, b in zip(found[name], weights, strict=True):
            np.testing.assert_array_equal(a, b, err_msg=name)


def bare(name):
    """Name of a layer in the model that a tree was made of."""
    return name.removeprefix("trunk_").removeprefix("branch_0_").removeprefix("branch_1_")


def kernels(model):
    return {w.path.split("/")[-2] for w in model.trainable_weights if w.path.endswith("kernel")}


@pytest.fixture(scope="module")
def grouped():
    return sn.group_model(make_network(), SECTIONS)


def test_copies_keep_what_is_frozen(grouped, tmp_path):
    plain = sn.plain_copy(make_network())
    assert set(frozen(plain)) == set(frozen(grouped)) == FROZEN
    assert {w.path for w in grouped.trainable_weights} >= {"c/kernel", "logits/kernel"}
    plan = sn.plan_of(grouped)
    tree = sn.split_model(grouped, sn.Grouping.even(plan), plan)
    assert {bare(name) for name in frozen(tree.model)} == FROZEN
    assert kernels(tree.model) == {f"branch_{g}_{name}" for g in (0, 1) for name in ("c", "logits")}
    tree.save(tmp_path / "tree.keras")
    loaded = SplitTree.load(tmp_path / "tree.keras")
    check_unchanged(frozen(loaded.model), frozen(tree.model))
    assert kernels(loaded.model) == kernels(tree.model)


def test_frozen_weights_stay_through_every_stage(grouped, arrays, caplog):
    train, valid, test = arrays
    before = frozen(grouped)
    recipe = sn.GroupingRecipe(epochs=1, warmup_epochs=0, rate=0.05, l2=0.01)
    learned = sn.learn_groups(grouped, train, valid, recipe, method="balanced", **STEPS)
    check_unchanged(frozen(grouped), before)
    tree = sn.split_model(grouped, learned.grouping)
    cut = frozen(tree.model)
    # Below the boundary, whose channels are sorted by group, nothing is moved about.
    for name in ("backbone_f1", "backbone_n1"):
        check_unchanged({name: cut[f"trunk_{name}"]}, {name: before[name]})
    phase = sn.Phase(epochs=1, rate=0.05, l2=0.01)
    with caplog.at_level("INFO"):
        done = sn.split(
            grouped, learned.grouping, train, valid, test, phase, recalibrate_batches=2, **STEPS
        )
    assert any("4 of 6 batch norms are frozen and keep their" in text for text in caplog.messages)
    check_unchanged(frozen(done.tree.model), cut)
    moved = zip(done.tree.model.trainable_weights, tree.model.trainable_weights, strict=True)
    assert all(np.any(to_numpy(a) != to_numpy(b)) for a, b in moved)


@pytest.mark.parametrize("how", ["loop", "fit", "devices"])
def test_finetuning_leaves_frozen_weights_as_fit_of_keras_does(arrays, how):
    train, valid, _ = arrays
    plan = sn.SplitPlan.from_sections(make_network(), SECTIONS)
    tree = sn.split_model(make_network(), sn.Grouping.even(plan), plan)
    before, trained = frozen(tree.model), [to_numpy(w) for w in tree.model.trainable_weights]
    if how == "fit":
        tree.model.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
        tree.model.fit(train[0][:64], train[1][:64], verbose=0)
    else:
        devices = {"devices": ["/CPU:0", "/CPU:1"]} if how == "devices" else {}
        phase = sn.Phase(epochs=1, rate=0.05, l2=0.01)
        sn.finetune(tree, train, valid, phase, **STEPS, **devices)
    check_unchanged(frozen(tree.model), before)
    for a, b in zip(tree.model.trainable_weights, trained, strict=True):
        assert np.any(to_numpy(a) != b), a.path


def test_a_step_with_l2_is_that_of_keras_on_what_is_not_frozen(arrays):
    """Stock Keras: SGD and L2 as a regularizer of the kernels that are trained."""
    (x, y), valid, _ = arrays
    ours, stock = make_network(), make_network()
    stock.set_weights(ours.get_weights())
    phase = sn.Phase(epochs=1, rate=0.05, schedule="step", momentum=0.0, nesterov=False, l2=0.1)
    sn.finetune(ours, (x[:32], y[:32]), valid, phase, batch_size=32, loop=sn.Loop(max_steps=1))
    for weight in stock.trainable_weights:
        if weight.path.endswith("kernel"):
            weight.regularizer = keras.regularizers.L2(0.05)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    stock.compile(keras.optimizers.SGD(0.05), loss, jit_compile=False)
    stock.train_on_batch(x[:32], y[:32])
    for a, b in zip(ours.weights, stock.weights, strict=True):
        np.testing.assert_allclose(to_numpy(a), to_numpy(b), 1e-4, 1e-5, err_msg=a.path)
