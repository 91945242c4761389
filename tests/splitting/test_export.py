"""Exported trees: their manifest, and what is refused."""

import importlib.util

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

import splitnet_tf as sn
from splitnet_tf.splitting.export import write_tree
from tests.conftest import random_grouping, scramble

pytestmark = pytest.mark.skipif(
    keras.backend.backend() != "tensorflow", reason="exports are made with TensorFlow"
)


def small_tree():
    inputs = keras.Input((6, 6, 3))
    x = layers.Conv2D(6, 3, activation="relu", name="a")(inputs)
    x = layers.BatchNormalization()(x)
    x = layers.Conv2D(8, 3, activation="relu", name="b")(x)
    x = layers.GlobalAveragePooling2D()(x)
    model = scramble(keras.Model(inputs, layers.Dense(7, name="logits")(x), name="small"))
    plan = sn.SplitPlan.from_sections(model, [("b", 2), ("logits", 3)])
    return sn.split_model(model, random_grouping(plan, np.random.default_rng(0)), plan)


@pytest.fixture(scope="module")
def tree():
    return small_tree()


def test_the_manifest_says_who_feeds_whom(tree, tmp_path):
    manifest = write_tree(tree, tmp_path / "exported", ["keras"])
    nodes = {n["name"]: n for n in manifest["nodes"]}
    assert list(nodes) == [n.name for n in tree.nodes()]
    assert manifest["checked"] is None
    assert nodes["trunk"]["feeds"] == [{"source": None, "index": 0}]
    assert [f["source"] for f in nodes["branch_0_1"]["feeds"]] == ["branch_0"]
    assert [f["source"] for f in nodes["head"]["feeds"]] == [
        "branch_0_0",
        "branch_0_1",
        "branch_1_0",
    ]
    assert nodes["branch_1_0"]["parent"] == "branch_1"
    found = {p.relative_to(tmp_path / "exported").as_posix() for p in tmp_path.rglob("*.keras")}
    assert found == {"tree.keras", *(f"nodes/{name}.keras" for name in nodes)}


def test_what_cannot_be_exported_is_refused(tree, tmp_path, monkeypatch):
    with pytest.raises(sn.RunError, match="`formats` must be of .*got 'pickle'"):
        write_tree(tree, tmp_path / "x", ["pickle"])
    with pytest.raises(sn.RunError, match="`formats` is empty"):
        write_tree(tree, tmp_path / "x", [])
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine").touch()
    with pytest.raises(sn.RunError, match="full is not empty"):
        write_tree(tree, tmp_path / "full", ["keras"])
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(sn.RunError, match="'onnx' needs the package onnx, which is not installed"):
        write_tree(tree, tmp_path / "x", ["onnx"])
    assert not (tmp_path / "x").exists()


def test_a_layer_that_a_format_does_not_know_is_one_sentence(tree, tmp_path, monkeypatch):
    def fail(*args, **kwargs):
        raise ValueError("no converter for this\nand a page more")

    monkeypatch.setattr(keras.Model, "export", fail)
    with pytest.raises(
        sn.RunError, match="'small' cannot be exported as litert .*no converter for"
    ):
        write_tree(tree, tmp_path / "x", ["litert"])
    assert list(tmp_path.iterdir()) == []


def test_a_failed_export_leaves_nothing(tree, tmp_path, monkeypatch):
    def fail(*args, **kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(keras.Model, "save", fail)
    with pytest.raises(sn.RunError, match="cannot be written: No space left on device"):
        write_tree(tree, tmp_path / "x", ["keras"])
    assert list(tmp_path.iterdir()) == []


def test_saved_models_in_bfloat16(tree, tmp_path):
    """Convolutions compute in it; inputs, outputs and variables are float32."""
    manifest = sn.export_tree(tree, tmp_path / "x", bfloat16=True, check=False)
    assert manifest["bfloat16"] == ["saved_model"]
    images = np.random.default_rng(0).normal(size=(4, 6, 6, 3)).astype("float32")
    made, wanted = {None: [images]}, tree.model(images).numpy()
    for node in tree.nodes():
        loaded = tf.saved_model.load(tmp_path / "x" / "nodes" / node.name)
        feeds = [made[f.source][f.index] for f in node.feeds]
        made[node.name] = keras.tree.flatten(loaded.serve(feeds if len(feeds) > 1 else feeds[0]))
        assert {v.dtype for v in loaded.variables} <= {tf.float32}
    whole = tf.saved_model.load(tmp_path / "x" / "tree")
    for found in (whole.serve(images), made["head"][0]):
        assert found.dtype == tf.float32
        assert 1e-5 < np.abs(found - wanted).max() / np.abs(wanted).max() < 0.03
    for name in ("litert", "onnx"):
        with pytest.raises(sn.RunError, match=f"'{name}' does not compute in bfloat16; leave"):
            sn.export_tree(tree, tmp_path / "y", [name], bfloat16=True, check=False)
