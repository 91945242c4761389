"""Copies, groupings, trees and files take and give what the model took and gave, by name."""

import subprocess
import sys

import keras
import numpy as np
import pytest
from keras import layers

import splitnet_tf as sn
from splitnet_tf.splitting import fuse_tree, mask_off_blocks
from tests.conftest import scramble, to_numpy


def heads(inputs):
    """Two dense heads on the joined inputs: ``zebra`` of six classes, ``apple`` of one number."""
    x = layers.Concatenate(name="join")(inputs) if len(inputs) > 1 else inputs[0]
    x = layers.Dense(8, activation="relu", name="body")(x)
    return layers.Dense(6, name="zebra")(x), layers.Dense(2, name="apple")(x)


def table(name, size=4):
    return keras.Input((size,), name=name)


def dict_to_dict():
    """Keys in no alphabetical order, outputs called otherwise than the layers that make them."""
    inputs = {"right": table("right"), "left": table("left", 6)}
    zebra, apple = heads(list(inputs.values()))
    return keras.Model(inputs, {"kind": zebra, "age": apple})


def list_to_list():
    inputs = [table("right"), table("left", 6)]
    return keras.Model(inputs, list(heads(inputs)))


def nested():
    a, b, c = table("a"), table("b", 6), table("c")
    zebra, apple = heads([a, b, c])
    return keras.Model({"pair": [c, a], "one": b}, {"deep": {"z": zebra}, "flat": (apple, zebra)})


def one_to_one():
    inputs = table("right")
    return keras.Model(inputs, heads([inputs])[0])


def dict_of_one():
    inputs = table("right")
    return keras.Model({"right": inputs}, {"kind": heads([inputs])[0]})


def softmax_in_the_layers():
    inputs = table("right")
    x = layers.Dense(8, activation="relu", name="body")(inputs)
    outputs = [layers.Dense(n, activation="softmax", name=k)(x) for k, n in (("z", 6), ("a", 3))]
    return keras.Model(inputs, outputs)


def ends_in_nested_models():
    """Keras calls outputs after the nested models, which a flat copy does not have."""
    inputs = table("head")
    x = layers.Dense(8, activation="relu", name="body")(inputs)
    outputs = [
        keras.Sequential([keras.Input((8,)), layers.Dense(n, name="dense")], name=name)(x)
        for name, n in (("trunk", 6), ("head_", 2))
    ]
    return keras.Model(inputs, outputs)


def nested_model_fed_by_name():
    """A nested model of a list of inputs, called on a dict of them."""
    a, b = table("b"), table("a")
    inner = keras.Model([a, b], layers.Subtract()([a, b]), name="inner")
    first, second = table("first"), table("second")
    return keras.Model([first, second], heads([inner({"b": first, "a": second})])[0])


MODELS = [
    dict_to_dict,
    list_to_list,
    nested,
    one_to_one,
    dict_of_one,
    softmax_in_the_layers,
    ends_in_nested_models,
    nested_model_fed_by_name,
]


def feeds(model):
    rng = np.random.default_rng(0)
    return keras.tree.map_structure(
        lambda x: rng.normal(size=(4, *x.shape[1:])).astype("float32"), model.input
    )


def tree_of(model, grouping=None):
    plan = sn.SplitPlan.from_sections(model, [("body", 2)])
    return sn.split_model(model, grouping or sn.Grouping.even(plan), plan)


def same(found, wanted, atol=1e-5):
    """Equal structures, keys in equal order, equal values."""
    assert _keys(found) == _keys(wanted)
    for a, b in zip(keras.tree.flatten(found), keras.tree.flatten(wanted), strict=True):
        np.testing.assert_allclose(to_numpy(a), to_numpy(b), rtol=1e-5, atol=atol)


def _keys(value):
    if isinstance(value, dict):
        return {"keys": list(value), "values": [_keys(v) for v in value.values()]}
    return [_keys(v) for v in value] if isinstance(value, (list, tuple)) else None


@pytest.mark.parametrize("make", MODELS)
def test_copies_take_and_give_what_the_model_did(make):
    model = scramble(make())
    x = feeds(model)
    grouped = sn.group_model(model, [("body", 2)])
    for copy in (sn.plain_copy(model), grouped, sn.plain_copy(grouped)):
        same(copy(x), model(x))
        assert copy.output_names == model.output_names
        assert [i.name for i in copy.inputs] == [i.name for i in model.inputs]


@pytest.mark.parametrize("make", MODELS)
def test_trees_take_and_give_what_the_model_did(make, tmp_path):
    model = scramble(make())
    x = feeds(model)
    tree = tree_of(model)
    mask_off_blocks(model, *_even(model))
    tree.save(tmp_path / "tree.keras")
    loaded = keras.models.load_model(tmp_path / "tree.keras")
    for copy in (tree.model, loaded, sn.SplitTree.load(tmp_path / "tree.keras").model):
        same(copy(x), model(x))
        same(copy.predict(x, verbose=0), model.predict(x, verbose=0))
        if make is not ends_in_nested_models:
            assert copy.output_names == model.output_names
            assert [i.name for i in copy.inputs] == [i.name for i in model.inputs]
    same(fuse_tree(tree)(x), model(x)) if make is dict_to_dict else None


def _even(model):
    plan = sn.SplitPlan.from_sections(model, [("body", 2)])
    return sn.Grouping.even(plan), plan


def test_names_that_nodes_have_are_left_to_them():
    model = ends_in_nested_models()
    tree = tree_of(model)
    assert tree.model.output_names == ["trunk_", "head__"]
    assert tree.model.inputs[0].name == "head_"
    assert len(tree.branches) == 2


def test_a_model_that_is_fed_by_names():
    """Keras takes a dict by names where the model's inputs are a list."""
    model = scramble(list_to_list())
    right, left = feeds(model)
    tree = tree_of(model)
    same(tree.model({"left": left, "right": right}), tree.model([right, left]))


@pytest.mark.parametrize("make", [dict_to_dict, list_to_list])
def test_a_tree_trains_with_losses_by_output_name(make):
    model = make()
    tree = tree_of(model).model
    kind, age = ("kind", "age") if make is dict_to_dict else ("zebra", "apple")
    tree.compile("sgd", {kind: sn.CrossEntropy(), age: "mse"}, metrics={kind: ["accuracy"]})
    y = {kind: np.arange(4), age: np.ones((4, 2))}
    found = tree.fit(feeds(model), y, verbose=0).history
    assert {f"{kind}_accuracy", f"{kind}_loss", f"{age}_loss"} < set(found)


def test_a_tree_of_dicts_needs_nothing_of_ours(tmp_path):
    model = scramble(dict_to_dict())
    tree = tree_of(model)
    tree.save(tmp_path / "tree.keras")
    sn.export_tree(tree, tmp_path / "out", ["saved_model"], check=False)
    x = feeds(model)
    np.savez(tmp_path / "x.npz", **x)
    np.savez(tmp_path / "y.npz", **{k: to_numpy(v) for k, v in tree.model(x).items()})
    script = f"""
import sys, numpy as np, keras
x, y = (dict(np.load(f"{tmp_path}/{{n}}.npz")) for n in "xy")
served = keras.layers.TFSMLayer("{tmp_path}/out/tree", call_endpoint="serve")
for found in (keras.models.load_model("{tmp_path}/tree.keras")(x), served(x)):
    assert set(found) == set(y) == {{"kind", "age"}}, found
    for k in y:
        np.testing.assert_allclose(np.asarray(found[k]), y[k], rtol=1e-5, atol=1e-6)
assert "splitnet_tf" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", script], check=True, cwd=tmp_path)
