"""Trees and models that prepare their inputs themselves: the same answers from raw pixels."""

import keras
import numpy as np
import pytest
from keras import layers

import splitnet_tf as sn
from splitnet_tf.errors import PlanError
from splitnet_tf.recipe.preprocessing import NONE, Preprocessing
from splitnet_tf.splitting import WholeModel
from splitnet_tf.splitting.raw_inputs import with_front
from tests.conftest import random_grouping, scramble, to_numpy

PIXELS = np.random.default_rng(0).integers(0, 256, (5, 12, 12, 3), np.uint8)


def net(name="net"):
    inputs = keras.Input((12, 12, 3), name="images")
    x = layers.Conv2D(6, 3, activation="relu", name="a")(inputs)
    x = layers.BatchNormalization(name="bn")(x)
    x = layers.Conv2D(8, 3, activation="relu", name="b")(x)
    x = layers.GlobalAveragePooling2D()(x)
    return scramble(keras.Model(inputs, layers.Dense(7, name="logits")(x), name=name))


def cut(model, sections):
    plan = sn.SplitPlan.from_sections(model, sections)
    return sn.split_model(model, random_grouping(plan, np.random.default_rng(0)), plan)


@pytest.mark.parametrize("text", ["whiten", "scale01", "standardize", "caffe", "none"])
@pytest.mark.parametrize("sections", [[("b", 2), ("logits", 3)], [("a", 2), ("logits", 2)]])
def test_a_tree_from_raw_pixels(text, sections, tmp_path):
    tree, front = cut(net(), sections), Preprocessing.parse(text)
    wanted = to_numpy(tree(front(PIXELS)))
    raw = with_front(tree, front, "uint8")
    assert raw.model.input.dtype == "uint8" and raw.model.input.name == "images"
    assert raw.model.name == tree.model.name
    assert raw.model.output_names == tree.model.output_names
    np.testing.assert_allclose(to_numpy(raw(PIXELS)), wanted, rtol=1e-5, atol=1e-5)
    np.testing.assert_array_equal(to_numpy(tree(front(PIXELS))), wanted)  # left as it was
    made = {None: [PIXELS]}
    for node in raw.nodes():
        fed = [made[f.source][f.index] for f in node.feeds]
        made[node.name] = keras.tree.flatten(node(fed[0] if len(fed) == 1 else fed))
    np.testing.assert_allclose(to_numpy(made["head"][0]), wanted, rtol=1e-5, atol=1e-5)
    raw.model.save(tmp_path / "raw.keras")
    again = keras.saving.load_model(tmp_path / "raw.keras", safe_mode=True)
    np.testing.assert_allclose(to_numpy(again(PIXELS)), wanted, rtol=1e-5, atol=1e-5)
    assert [n.name for n in sn.SplitTree.load(tmp_path / "raw.keras").nodes()] == [
        n.name for n in tree.nodes()
    ]


def test_a_model_that_is_no_tree():
    model, front = net(), Preprocessing("scale11")
    raw = with_front(WholeModel(model), front, "float32").model
    found = to_numpy(raw(PIXELS.astype("float32")))
    np.testing.assert_allclose(found, to_numpy(model(front(PIXELS))), rtol=1e-5, atol=1e-5)


def test_token_ids_pass():
    inputs = keras.Input((6,), dtype="int32")
    x = layers.GlobalAveragePooling1D()(layers.Embedding(9, 4)(inputs))
    x = layers.Dense(6, activation="relu", name="dense")(x)
    model = scramble(keras.Model(inputs, layers.Dense(4, name="logits")(x)))
    tree, ids = cut(model, [("dense", 2)]), np.arange(12, dtype="int32").reshape(2, 6) % 9
    raw = with_front(tree, NONE, "int32")
    np.testing.assert_array_equal(to_numpy(raw(ids)), to_numpy(tree(ids)))


def test_several_inputs_are_refused():
    one, two = keras.Input((4,)), keras.Input((4,))
    x = layers.Dense(6, name="dense")(layers.Concatenate()([one, two]))
    model = keras.Model([one, two], layers.Dense(4, name="logits")(x))
    with pytest.raises(PlanError, match="has 2 inputs, where a single one can be prepared"):
        with_front(cut(model, [("logits", 2)]), NONE, "uint8")
