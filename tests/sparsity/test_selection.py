"""Selections: read from zeros, chosen, applied, and through their file."""

import json

import keras
import numpy as np
import pytest
from keras import layers

import splitnet_tf as sn
from splitnet_tf.errors import ArgumentError, SelectionError
from splitnet_tf.sparsity import (
    Kept,
    Selection,
    apply_selection,
    group_norms,
    random_like,
    random_selection,
    read_selection,
    select_by_norms,
    shrink_model,
    structure_groups,
)
from tests.conftest import scramble, small_alexnet, to_numpy
from tests.sparsity.zeros import check_shrink, set_zero, settle


def blocks():
    inputs = keras.Input((8, 8, 3))
    x = layers.Conv2D(4, 3, padding="same", name="stem")(inputs)
    for name in "ab":
        y = layers.Conv2D(5, 3, padding="same", activation="relu", name=f"{name}1")(x)
        y = layers.Conv2D(4, 3, padding="same", use_bias=False, name=f"{name}2")(y)
        x = layers.ReLU()(layers.Add(name=f"{name}_add")([x, y]))
    x = layers.GlobalAveragePooling2D()(x)
    return settle(keras.Model(inputs, layers.Dense(3, name="logits")(x), name="blocks"), 1)


def example():
    columns = (Kept("b1", (tuple(range(30)),), 36),)
    return Selection("blocks", "by hand", (Kept("a1", ((0, 3),), 5),), columns, ("b2",))


def test_a_file_holds_it_all(tmp_path):
    selection = example()
    selection.save(tmp_path / "selection.json")
    assert Selection.load(tmp_path / "selection.json") == selection
    document = json.loads((tmp_path / "selection.json").read_text())
    assert document["format"] == "splitnet_tf.selection" and document["layers"] == ["b2"]
    assert document["spaces"] == [{"name": "a1", "size": 5, "members": [[0, 3]]}]


@pytest.mark.parametrize(
    "change, sentence",
    [
        (lambda d: d.update(format="splitnet_tf.grouping"), "not a selection file"),
        (lambda d: d.update(layers=["b2", 3]), "'layers' must be of type str"),
        (lambda d: d.update(layers=None), "'layers' must be of type list"),
        (lambda d: d["spaces"][0].update(members=[[0], [3]]), "'a1' must have one list of what"),
        (lambda d: d["spaces"][0].update(members=[[0, 5]]), "indices from 0 to 4"),
        (lambda d: d["columns"][0].update(size=3), "space 'b1' says size 3"),
        (lambda d: d["columns"].append(d["columns"][0]), "two of 'columns' have the same name"),
        (lambda d: d.pop("columns"), "'columns' must be of type list"),
    ],
)
def test_a_file_that_is_wrong(tmp_path, change, sentence):
    document = json.loads(example().to_json())
    document.pop("sha256")
    change(document)
    path = tmp_path / "selection.json"
    path.write_text(json.dumps(document))
    with pytest.raises(SelectionError, match=sentence):
        Selection.load(path)


def test_missing_and_changed_files(tmp_path):
    with pytest.raises(SelectionError, match="does not exist; splitnet_tf.cli.sparsify writes one"):
        Selection.load(tmp_path / "none.json")
    text = example().to_json().replace("[0, 3]", "[0, 2]")
    (tmp_path / "changed.json").write_text(text)
    with pytest.raises(SelectionError, match="it was changed after it was written"):
        Selection.load(tmp_path / "changed.json")


def test_selections_for_another_model():
    net = sn.models.mlp((5,), num_classes=3, input_shape=(4,))
    for wrong in (
        Selection("m", "x", (Kept("fc9", ((0,),), 5),)),
        Selection("m", "x", (Kept("fc1", ((0,),), 6),)),
        Selection("m", "x", (), (Kept("fc1", ((0,),), 5),)),
        Selection("m", "x", (), (), ("fc9",)),
    ):
        for function in (apply_selection, shrink_model, random_like):
            with pytest.raises(SelectionError, match="it was made for another model"):
                function(net, wrong)
    for function in (apply_selection, shrink_model):
        with pytest.raises(SelectionError, match=r"got 's.json': Selection.load\(path\) reads"):
            function(net, "s.json")
    for keep in ({"keep": "0.5"}, {"threshold": "0.5"}):
        with pytest.raises(sn.ArgumentError, match="must be a number .*got '0.5'"):
            select_by_norms(net, **keep)
    with pytest.raises(sn.ArgumentError, match="`seed` must be a whole number of 0 or more"):
        random_selection(net, 0.5, -1)
    with pytest.raises(SelectionError, match="has no space 'fc9'; it has a1"):
        example().space("fc9")


def test_what_is_given_up_becomes_zero_and_goes():
    model = blocks()
    apply_selection(model, example())
    assert (to_numpy(model.get_layer("a1").kernel)[..., [1, 2, 4]] == 0).all()
    assert (to_numpy(model.get_layer("a1").bias)[[1, 2, 4]] == 0).all()
    assert (to_numpy(model.get_layer("a2").kernel)[:, :, [1, 2, 4]] == 0).all()
    assert (to_numpy(model.get_layer("a2").kernel)[:, :, [0, 3]] != 0).all()
    assert (to_numpy(model.get_layer("b1").kernel).reshape(36, 5)[30:] == 0).all()
    assert (to_numpy(model.get_layer("b2").kernel) == 0).all()
    shrunk = check_shrink(model, example())
    assert shrunk.selection.space("a1").indices == (0, 3)
    assert shrunk.selection.layers == ("b1", "b2") and shrunk.changes.left == ()


def test_what_is_given_up_but_used_stays_and_is_named():
    model = blocks()
    shrunk = check_shrink(model, example())
    assert shrunk.selection.space("a1").indices == (0, 1, 2, 3, 4)
    assert shrunk.changes.left == (
        "space 'a1': 3 channels stay (1, 2, 4): layer 'a2' reads it",
        "layer 'b1': 6 columns stay: their weights are not zero",
        "layer 'b2' stays: what it makes is used",
    )


def test_what_a_selection_keeps_is_kept():
    model = blocks()
    everything = read_selection(model)
    set_zero(model.get_layer("a1").kernel, (..., 1))
    set_zero(model.get_layer("a1").bias, 1)
    set_zero(model.get_layer("b2").kernel, ...)
    set_zero(model.get_layer("a2").kernel, (0, ...))
    shrunk = check_shrink(model, everything)
    assert shrunk.selection.layers == () and shrunk.model.count_params() == model.count_params()
    shrunk = check_shrink(model)
    assert shrunk.selection.layers == ("b1", "b2") and shrunk.selection.space("a1").size == 5
    assert {c.layer: c.after for c in shrunk.changes.kernels}["a2"] == (2, 3, 4, 4)


def test_planted_dead_channels_come_out():
    model = scramble(small_alexnet())
    planted = {"conv1": [1, 4], "conv2": [0], "fc6": [2, 3, 15], "fc7": []}
    spaces = tuple(
        Kept.from_mask(g.name, ~np.isin(np.arange(g.count), planted[g.name]))
        for g in structure_groups(model, "spaces")
    )
    apply_selection(model, Selection(model.name, "planted", spaces))
    assert read_selection(model).spaces == spaces


def test_permuted_channels_are_found_permuted():
    model = scramble(small_alexnet())
    selection = random_selection(model, 0.5, seed=3)
    apply_selection(model, selection)
    order = np.random.default_rng(0).permutation(6)
    conv1, conv2 = model.get_layer("conv1"), model.get_layer("conv2")
    conv1.set_weights([w[..., order] for w in conv1.get_weights()])
    kernel, bias = conv2.get_weights()
    conv2.set_weights([kernel[:, :, order], bias])
    found = read_selection(model)
    mask = selection.space("conv1").mask()
    np.testing.assert_array_equal(found.space("conv1").mask(), mask[order])
    assert found.spaces[1:] == selection.spaces[1:]


def norms_of(model, structure):
    values = {v.path: v for v in model.variables}
    groups = structure_groups(model, structure)
    return {g.name: to_numpy(group_norms(g, values)) for g in groups}


def test_the_largest_norms_are_kept():
    model = blocks()
    norms = norms_of(model, "spaces")
    selection = select_by_norms(model, keep=0.5)
    for space in selection.spaces:
        assert len(space.indices) == round(space.size / 2)
        assert norms[space.name][space.mask()].min() >= norms[space.name][~space.mask()].max()
    threshold = float(np.median(norms["b1"]))
    for space in select_by_norms(model, threshold=threshold).spaces:
        kept = norms[space.name] > threshold
        kept |= norms[space.name] == norms[space.name].max()
        np.testing.assert_array_equal(space.mask(), kept)
    columns = select_by_norms(model, "shapes", keep=0.25).columns
    assert [c.name for c in columns] == ["stem", "a1", "a2", "b1", "b2", "logits"]
    assert all(len(c.indices) == round(c.size / 4) for c in columns)
    deep = norms_of(model, "depth")
    gone = select_by_norms(model, "depth", keep=0.5).layers
    assert set(gone) == set(sorted(deep, key=lambda n: deep[n][0])[:2])


def test_chosen_at_random():
    model = blocks()
    selection = random_selection(model, keep=0.5, seed=1)
    assert selection == random_selection(model, keep=0.5, seed=1)
    assert selection != random_selection(model, keep=0.5, seed=2)
    assert [len(s.indices) for s in selection.spaces] == [2, 2, 2]
    assert [len(s.indices) for s in random_selection(model, 0.01).spaces] == [1, 1, 1]
    other = random_like(model, select_by_norms(model, threshold=1.0), seed=4)
    assert [len(s.indices) for s in other.spaces] == [
        len(s.indices) for s in select_by_norms(model, threshold=1.0).spaces
    ]


@pytest.mark.parametrize(
    "call, sentence",
    [
        (lambda m: select_by_norms(m), "one of `threshold` and `keep`"),
        (lambda m: select_by_norms(m, keep=0.5, threshold=1.0), "one of `threshold` and `keep`"),
        (
            lambda m: select_by_norms(m, keep=0.0),
            "`keep` must be a number above 0 and .*; got 0.0",
        ),
        (lambda m: select_by_norms(m, threshold=-1.0), "`threshold` must be a number of 0 or more"),
        (lambda m: select_by_norms(m, "filters", keep=0.5), "`structure` must be one of spaces"),
        (
            lambda m: random_selection(m, keep=1.5),
            "`keep` must be a number above 0 and .*; got 1.5",
        ),
    ],
)
def test_wrong_choices(call, sentence):
    with pytest.raises(ArgumentError, match=sentence):
        call(blocks())
