"""Exported trees: loaded in a fresh process without this package, they compute the same."""

import importlib.util
import subprocess
import sys

import keras
import numpy as np
import pytest
from keras import layers

import splitnet_tf as sn
from splitnet_tf.splitting.export import export_tree
from tests.conftest import random_grouping, scramble

pytestmark = pytest.mark.skipif(
    keras.backend.backend() != "tensorflow", reason="exports are made with TensorFlow"
)

# Runs the whole tree and then its nodes, by the manifest alone.
RUNNER = """
import json, sys
import numpy as np

kind, folder = sys.argv[1:]
manifest = json.load(open(f"{folder}/manifest.json"))
x = np.load(f"{folder}/../x.npy", allow_pickle=False)


def load(entry):
    file = f"{folder}/{entry['files'][kind]}"
    if kind == "saved_model":
        import tensorflow as tf
        served = tf.saved_model.load(file)
        call = lambda xs: served.serve(xs if len(xs) > 1 else xs[0])
    elif kind == "keras":
        import keras
        model = keras.models.load_model(file)
        call = lambda xs: model(xs if len(xs) > 1 else xs[0])
    elif kind == "onnx":
        import onnxruntime
        session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
        order = [t["name"] for t in entry["inputs"]]
        assert sorted(i.name for i in session.get_inputs()) == sorted(order)
        return lambda xs: session.run(None, dict(zip(order, xs)))
    else:
        from ai_edge_litert.interpreter import Interpreter
        runner = Interpreter(file)
        signature = runner.get_signature_runner("serving_default")
        order = [t["name"] for t in entry["inputs"]]
        def call(xs):
            made = signature(**dict(zip(order, xs)))
            return [made[k] for k in sorted(made)]
    def as_list(xs):
        made = call(xs)
        return [np.array(y) for y in (made if isinstance(made, (list, tuple)) else [made])]
    return as_list


np.save(f"{folder}/../{kind}_tree.npy", load(manifest["tree"])([x])[0])
made = {None: [x]}
for node in manifest["nodes"]:
    inputs = [made[f["source"]][f["index"]] for f in node["feeds"]]
    made[node["name"]] = load(node)(inputs)
np.save(f"{folder}/../{kind}_nodes.npy", made["head"][0])
assert not any(m.startswith("splitnet_tf") for m in sys.modules)
assert kind == "keras" or "keras" not in sys.modules or kind == "saved_model"
"""


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


def installed(kind):
    needs = {"onnx": ("onnx", "tf2onnx", "onnxruntime"), "litert": ("ai_edge_litert",)}
    return all(importlib.util.find_spec(p) for p in needs.get(kind, ()))


@pytest.mark.parametrize("kind", ["saved_model", "keras", "onnx", "litert"])
def test_a_fresh_process_gets_the_same_from_the_tree_and_from_its_nodes(tree, kind, tmp_path):
    if not installed(kind):
        pytest.skip(f"what reads {kind} is not installed")
    export_tree(tree, tmp_path / "exported", [kind])
    # Four images: LiteRT's files have a batch of one unless resized; the others any.
    batch = 1 if kind == "litert" else 4
    x = np.random.default_rng(0).normal(size=(batch, 6, 6, 3)).astype("float32")
    np.save(tmp_path / "x.npy", x)
    subprocess.run(
        [sys.executable, "-c", RUNNER, kind, str(tmp_path / "exported")], check=True, cwd=tmp_path
    )
    expected = keras.ops.convert_to_numpy(tree.model(x, training=False))
    for part in ("tree", "nodes"):
        found = np.load(tmp_path / f"{kind}_{part}.npy", allow_pickle=False)
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)


def test_the_manifest_says_who_feeds_whom(tree, tmp_path):
    manifest = export_tree(tree, tmp_path / "exported", ["keras"])
    nodes = {n["name"]: n for n in manifest["nodes"]}
    assert list(nodes) == [n.name for n in tree.nodes()]
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
        export_tree(tree, tmp_path / "x", ["pickle"])
    with pytest.raises(sn.RunError, match="`formats` is empty"):
        export_tree(tree, tmp_path / "x", [])
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine").touch()
    with pytest.raises(sn.RunError, match="full is not empty"):
        export_tree(tree, tmp_path / "full", ["keras"])
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(sn.RunError, match="'onnx' needs the package onnx, which is not installed"):
        export_tree(tree, tmp_path / "x", ["onnx"])
    assert not (tmp_path / "x").exists()


def test_a_layer_that_a_format_does_not_know_is_one_sentence(tree, tmp_path, monkeypatch):
    def fail(*args, **kwargs):
        raise ValueError("no converter for this\nand a page more")

    monkeypatch.setattr(keras.Model, "export", fail)
    with pytest.raises(
        sn.RunError, match="'small' cannot be exported as litert .*no converter for"
    ):
        export_tree(tree, tmp_path / "x", ["litert"])
    assert list(tmp_path.iterdir()) == []


def test_a_failed_export_leaves_nothing(tree, tmp_path, monkeypatch):
    def fail(*args, **kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(keras.Model, "save", fail)
    with pytest.raises(sn.RunError, match="cannot be written: No space left on device"):
        export_tree(tree, tmp_path / "x", ["keras"])
    assert list(tmp_path.iterdir()) == []
