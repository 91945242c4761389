"""Evaluation of a model and of a tree beside it, on data of every kind, against sums by hand."""

import json

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

import splitnet_tf as sn
from splitnet_tf.errors import SplitNetError
from splitnet_tf.stages.evaluate import Comparison, compare, evaluate_model
from splitnet_tf.stages.evaluate_run import RunEvaluation
from tests.conftest import random_grouping, scramble

X = np.random.default_rng(0).normal(size=(60, 6)).astype("float32")
Y = np.random.default_rng(1).integers(0, 8, 60)


@pytest.fixture(scope="module")
def model():
    inputs = keras.Input((6,))
    x = layers.Dense(12, activation="relu", name="hidden")(inputs)
    return scramble(keras.Model(inputs, layers.Dense(8, name="logits")(x), name="small"))


@pytest.fixture(scope="module")
def tree(model):
    plan = sn.SplitPlan.from_sections(model, [("hidden", 2), ("logits", 2)])
    return sn.split_model(model, random_grouping(plan, np.random.default_rng(2)), plan)


def in_batches(x, y, size=16):
    return tf.data.Dataset.from_tensor_slices((x, y)).batch(size)


KINDS = {
    "arrays": lambda: (X, Y),
    "one-hot": lambda: (X, np.eye(8, dtype="float32")[Y]),
    "tf.data": lambda: in_batches(X, Y),
    "tf.data, one-hot": lambda: in_batches(X, np.eye(8)[Y]),
    "PyDataset": lambda: Batches(workers=1),
}


class Batches(keras.utils.PyDataset):
    """Four batches, the last smaller, with weights that do not count."""

    def __len__(self):
        return 4

    def __getitem__(self, k):
        part = slice(16 * k, 16 * k + 16)
        return X[part], Y[part], np.zeros(len(Y[part]))


def test_probabilities_at_the_end_are_taken_off(model):
    """The cross entropy is that of Keras' own losses of probabilities."""
    soft = keras.Model(model.input, layers.Softmax()(model.output))
    wanted = np.mean(keras.losses.sparse_categorical_crossentropy(Y, soft(X)))
    assert evaluate_model(soft, (X, Y)).cross_entropy == pytest.approx(wanted, rel=1e-4)
    several = keras.Model(model.input, layers.Activation("sigmoid")(model.output))
    labels = np.random.default_rng(4).integers(0, 2, (60, 8))
    wanted = np.mean(keras.losses.binary_crossentropy(labels.astype("float32"), several(X)))
    found = evaluate_model(several, (X, labels), loss=sn.BinaryCrossEntropy())
    assert found.cross_entropy == pytest.approx(wanted, rel=1e-4)
    with pytest.raises(SplitNetError, match="ends in a sigmoid"):
        evaluate_model(several, (X, Y))


@pytest.mark.parametrize("kind", KINDS)
def test_a_model_is_measured_on_data_of_any_kind(model, kind):
    found = evaluate_model(model, KINDS[kind](), batch_size=6)
    logits = model(X).numpy().astype(float)
    answers = logits.argmax(axis=1)
    p = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    assert found.images == 60 and found.top1 == pytest.approx(np.mean(answers == Y))
    assert found.cross_entropy == pytest.approx(-np.log(p[np.arange(60), Y]).mean(), rel=1e-5)
    assert found.confusion.trace() == np.sum(answers == Y) and found.confusion.sum() == 60
    assert (found.params, found.flops) == (6 * 12 + 12 + 12 * 8 + 8, 2 * (72 + 96) + 12 + 8)
    assert found.batch_size == (6 if kind in ("arrays", "one-hot") else 16)
    assert found.seconds_per_image > 0 and found.model == "small"


def test_a_grouped_model_is_measured_as_the_stock_model_that_it_was(model):
    plan = sn.SplitPlan.from_sections(model, [("hidden", 2), ("logits", 2)])
    grouped = evaluate_model(sn.group_model(model, plan), (X, Y))
    assert grouped.top1 == evaluate_model(model, (X, Y)).top1
    assert grouped.params == sn.cost(model).params


def test_a_tree_is_compared_with_the_unsplit_network(model, tree):
    found = compare(model, tree, (X, Y), devices=["/CPU:0", "/CPU:1"], trunk="shard", form="jit")
    split, placed = found.models["split"], found.models["placed"]
    assert list(found.models) == ["unsplit", "split", "placed"]
    assert split.top1 == placed.top1 == evaluate_model(tree.model, (X, Y)).top1
    before, after = sn.cost(model), sn.cost(tree.model)
    text = str(found)
    assert f"{100 * (1 - after.params / before.params):.1f}% fewer parameters" in text
    assert f"{100 * (1 - after.flops / before.flops):.1f}% fewer FLOPs" in text
    # A single batch, which is repeated to be timed.
    assert all(m.seconds_per_image > 0 and m.batch_size == 60 for m in found.models.values())
    assert "ms/image: batches of 60 in compiled functions" in text
    assert "form on one device: jit" in text and "branch_1" in text
    assert [line.split()[0] for line in text.splitlines()[2:5]] == ["unsplit", "split", "placed"]
    document = json.loads(json.dumps(found.to_document()))
    assert document["placed"]["placement"] == placed.placement
    assert "form" not in document["placed"] and "trunk" not in document["split"]
    assert document["split"]["confusion"] == split.confusion.tolist()


def test_in_bfloat16_beside_float32(model, tree):
    found = compare(model, tree, (X, Y), devices=["/CPU:0", "/CPU:1"], bfloat16=True)
    names = ["unsplit", "split", "placed"]
    assert list(found.models) == [f"{n}{end}" for n in names for end in ("", "_bfloat16")]
    for name in names:
        exact, half = found.models[name], found.models[f"{name}_bfloat16"]
        assert half.bfloat16 and abs(half.top1 - exact.top1) < 0.1
        assert 0 < abs(half.cross_entropy - exact.cross_entropy) < 0.05
    assert found.to_document()["split_bfloat16"]["bfloat16"] is True
    assert "bfloat16" not in found.to_document()["split"]
    text = str(found)
    assert "split bfloat16" in text and text.count("trunk: replicate") == 1
    half = evaluate_model(tree, (X, Y), form="jit", bfloat16=True)
    assert half.cross_entropy == pytest.approx(
        found.models["split_bfloat16"].cross_entropy, abs=0.05
    )


def test_several_classes_an_example(model):
    labels = np.random.default_rng(3).integers(0, 2, (60, 8)).astype("float32")
    found = evaluate_model(model, (X, labels), loss=sn.BinaryCrossEntropy())
    right = (model(X).numpy() > 0) == (labels > 0.5)
    assert found.top1 == pytest.approx(right.mean()) and found.top5 is None
    assert found.to_document()["confusion"] is None
    assert str(found).splitlines()[2].split()[2] == "-"


def test_the_fastest_form_is_told_with_the_times_of_all(tree):
    found = evaluate_model(tree, (X, Y), form="auto")
    assert found.forms[found.form] == min(found.forms.values())
    assert "(ms/image: none " in found.about_form()


def test_a_model_that_is_not_a_tree_has_no_other_form(model):
    with pytest.raises(SplitNetError, match="'small' is not a tree of branches"):
        evaluate_model(model, (X, Y), form="jit")


def test_the_classes_most_often_confused_are_told(model):
    confusion = np.array([[5, 7, 0], [0, 3, 0], [2, 0, 1]])
    found = evaluate_model(model, (X, Y))
    one = Comparison({"model": type(found)(**{**vars(found), "confusion": confusion})})
    text = str(RunEvaluation("data", "test", one, "abc"))
    assert text.startswith("data, test images\n\n")
    assert "\n\nmost often confused by the model: a as b (7), c as a (2)" in text
    right = Comparison({"model": type(found)(**{**vars(found), "confusion": np.eye(3)})})
    assert "confused" not in str(RunEvaluation("data", "test", right, "abc"))
