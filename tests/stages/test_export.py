"""Exports are run in a fresh process and compared with the tree before they are kept."""

import json
import subprocess
import sys

import keras
import numpy as np
import pytest
from keras import layers

import splitnet_tf as sn
from splitnet_tf.errors import ArgumentError, RunError
from splitnet_tf.splitting import SplitTree
from splitnet_tf.splitting.export import FORMATS, write_tree
from splitnet_tf.stages.check_exported import check_exported, drawn_inputs, first_examples
from splitnet_tf.stages.export import export_run
from tests.conftest import random_grouping, scramble, to_numpy

RNG = np.random.default_rng(0)
X = {
    "image": RNG.normal(size=(5, 6, 6, 3)).astype("float32"),
    "table": RNG.normal(size=(5, 4)).astype("float32"),
}

# Runs the whole tree and then its nodes, by the manifest alone.
RUNNER = """
import json, sys
import numpy as np
import tensorflow as tf, keras, onnxruntime
from ai_edge_litert.interpreter import Interpreter

folder = sys.argv[1]
manifest = json.load(open(f"{folder}/manifest.json"))
images = [np.load(f"{folder}/../{t['name']}.npy") for t in manifest["tree"]["inputs"]]


def load(entry, kind):
    file = f"{folder}/{entry['files'][kind]}"
    order = [t["name"] for t in entry["inputs"]]
    def structure(xs):
        if entry is manifest["tree"]:
            return dict(zip(order, xs))
        return xs if len(xs) > 1 else xs[0]
    if kind == "saved_model":
        served = tf.saved_model.load(file)
        call = lambda xs: served.serve(structure(xs))
    elif kind == "keras":
        model = keras.models.load_model(file)
        call = lambda xs: model(structure(xs))
    elif kind == "onnx":
        session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
        assert sorted(i.name for i in session.get_inputs()) == sorted(order)
        call = lambda xs: session.run(None, dict(zip(order, xs)))
    else:
        signature = Interpreter(file).get_signature_runner("serving_default")
        call = lambda xs: signature(**dict(zip(order, xs)))
    def as_list(xs):
        made = call(xs)
        if isinstance(made, dict):
            made = [made[name] for name in sorted(made)]
        return [np.array(y) for y in (made if isinstance(made, (list, tuple)) else [made])]
    return as_list


for kind in manifest["tree"]["files"]:
    made = {None: images}
    for node in manifest["nodes"]:
        inputs = [made[f["source"]][f["index"]] for f in node["feeds"]]
        made[node["name"]] = load(node, kind)(inputs)
    tree = load(manifest["tree"], kind)
    for name, found in (("tree", tree(images)), ("again", tree(images)), ("nodes", made["head"])):
        np.savez(f"{folder}/../{kind}_{name}.npz", *found)
assert not any(m.startswith("splitnet_tf") for m in sys.modules)
"""


def make_tree():
    """Convolutions, batch norm, dense, layers that Keras' own export leaves random, and dicts."""
    image, table = keras.Input((6, 6, 3), name="image"), keras.Input((4,), name="table")
    x = layers.RandomFlip("horizontal")(image)
    x = layers.Conv2D(6, 3, activation="relu", name="a")(x)
    x = layers.Conv2D(8, 3, activation="relu", name="b")(layers.BatchNormalization()(x))
    x = layers.GlobalAveragePooling2D()(x)
    x = layers.Dropout(0.5)(layers.Concatenate()([x, layers.Dense(4)(table)]), training=True)
    # In the alphabet the longer name comes first.
    outputs = {"logits": layers.Dense(7, name="logits")(x)}
    outputs["age_group"] = layers.Dense(1, name="age_group")(x)
    model = keras.Model({"table": table, "image": image}, outputs, name="small")
    return cut(scramble(model), [("logits", 2)])


def cut(model, sections, seed=0):
    plan = sn.SplitPlan.from_sections(model, sections)
    return sn.split_model(model, random_grouping(plan, np.random.default_rng(seed)), plan)


@pytest.fixture(scope="module")
def tree():
    return make_tree()


def test_every_format_computes_what_the_tree_does(tree, tmp_path):
    manifest = sn.export_tree(tree, tmp_path / "out", list(FORMATS), inputs=X)
    assert json.loads((tmp_path / "out" / "manifest.json").read_text()) == manifest
    checked = manifest["checked"]
    assert checked["inputs"] == "given inputs" and checked["examples"] == 4
    assert list(checked["apart"]) == list(FORMATS)
    assert all(0 <= v < 1e-5 for v in checked["apart"].values())
    for name, x in X.items():
        np.save(tmp_path / f"{name}.npy", x)
    subprocess.run([sys.executable, "-c", RUNNER, str(tmp_path / "out")], check=True, cwd=tmp_path)
    made = tree.model(X, training=False)
    wanted = [to_numpy(made[name]) for name in ("age_group", "logits")]
    for kind in FORMATS:
        found = {n: np.load(tmp_path / f"{kind}_{n}.npz") for n in ("tree", "again", "nodes")}
        for i, y in enumerate(wanted):
            np.testing.assert_array_equal(found["tree"][f"arr_{i}"], found["again"][f"arr_{i}"])
            for part in ("tree", "nodes"):
                np.testing.assert_allclose(found[part][f"arr_{i}"], y, 1e-5, 1e-5, err_msg=kind)


def test_a_file_of_other_weights_is_refused(tree, tmp_path):
    other = make_tree()
    other.model.set_weights([w + 0.01 for w in other.model.get_weights()])
    manifest = write_tree(other, tmp_path / "out", ["onnx"])
    with pytest.raises(RunError, match=r"tree.onnx answers otherwise than the tree \(.* apart\)"):
        check_exported(tmp_path / "out", manifest, tree, X)
    assert check_exported(tmp_path / "out", manifest, other, X)["onnx"] < 1e-5


def test_a_tree_put_together_by_hand_that_answers_at_random_is_refused(tmp_path):
    images = keras.Input((4,))
    trunk = keras.Model(images, layers.GaussianNoise(1.0)(images, training=True), name="trunk")
    features = keras.Input((4,))
    branch = keras.Model(features, layers.Dense(2)(features), name="branch_0")
    logits = keras.Input((2,))
    head = keras.Model(logits, layers.Activation("linear")(logits), name="head")
    images = keras.Input((4,))
    tree = SplitTree(keras.Model(images, head(branch(trunk(images)))))
    with pytest.raises(RunError, match="gives two answers to the same input"):
        sn.export_tree(tree, tmp_path / "out", ["keras"])
    assert list(tmp_path.iterdir()) == []
    assert sn.export_tree(tree, tmp_path / "out", ["keras"], check=False)["checked"] is None


@keras.saving.register_keras_serializable("tests")
class Doubled(layers.Layer):
    """A layer that no other process knows."""

    def call(self, inputs):
        return 2 * inputs


def test_a_layer_that_another_process_does_not_know_is_refused(tmp_path):
    images = keras.Input((4,))
    trunk = keras.Model(images, Doubled()(images), name="trunk")
    logits = keras.Input((4,))
    head = keras.Model(logits, layers.Activation("linear")(logits), name="head")
    images = keras.Input((4,))
    tree = SplitTree(keras.Model(images, head(trunk(images))))
    with pytest.raises(RunError, match="tree.keras does not run in a fresh process .*Doubled"):
        sn.export_tree(tree, tmp_path / "out", ["keras"])
    assert list(tmp_path.iterdir()) == []


def test_inputs_are_checked_before_anything_is_written(tree, tmp_path):
    image, table = X["image"], X["table"]
    for inputs in ((image[..., :2], table), (image[:0], table[:0]), image, (image[0], table)):
        with pytest.raises(ArgumentError, match=r"`inputs` must be arrays .* \(6, 6, 3\), .*got"):
            sn.export_tree(tree, tmp_path / "out", ["keras"], inputs=inputs)
    assert list(tmp_path.iterdir()) == []


def test_drawn_inputs_are_such_as_the_model_takes():
    words = keras.Input((None,), dtype="int32", name="words")
    image = keras.Input((8, 8, 3), name="image")
    x = layers.GlobalAveragePooling1D()(layers.Embedding(11, 4)(words))
    y = layers.Concatenate()([x, layers.GlobalAveragePooling2D()(image)])
    model = keras.Model({"words": words, "image": image}, layers.Dense(3)(y))
    drawn = drawn_inputs(model)
    assert drawn["words"].dtype == "int32" and 0 <= drawn["words"].min() < drawn["words"].max() < 11
    assert drawn["image"].shape == (4, 8, 8, 3) and drawn["image"].dtype == "float32"
    assert np.isfinite(to_numpy(model(drawn))).all()
    again = first_examples(model, {name: np.repeat(x, 3, 0) for name, x in drawn.items()})
    assert {name: x.shape[0] for name, x in again.items()} == {"words": 4, "image": 4}


def test_a_model_of_several_inputs_is_exported_by_its_file(tmp_path):
    inputs = [keras.Input((5,), name=name) for name in ("one", "two")]
    x = layers.Dense(3)(layers.Concatenate()(inputs))
    model = keras.Model(inputs, x, name="two_inputs")
    model.save(tmp_path / "mine.keras")
    manifest = export_run(tmp_path / "mine.keras", tmp_path / "out", ["keras"])
    assert [t["name"] for t in manifest["tree"]["inputs"]] == ["one", "two"]
    assert manifest["checked"]["inputs"] == "drawn inputs"
    again = keras.saving.load_model(tmp_path / "out" / manifest["tree"]["files"]["keras"])
    x = [np.ones((2, 5), "float32"), np.arange(10, dtype="float32").reshape(2, 5)]
    np.testing.assert_allclose(to_numpy(again(x)), to_numpy(model(x)), atol=1e-6)
