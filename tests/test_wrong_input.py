"""Wrong input to the functions: one sentence each, that names what is wrong."""

import dataclasses
import json

import keras
import numpy as np
import pytest

import splitnet_tf as sn
from splitnet_tf import data
from splitnet_tf.analysis import cost
from splitnet_tf.data import Dataset, Split
from splitnet_tf.errors import (
    ArgumentError,
    DataError,
    GroupingError,
    PlacementError,
    PlanError,
    RunError,
)
from splitnet_tf.grouping import Grouping
from splitnet_tf.grouping.space_groups import SpaceGroups
from splitnet_tf.recipe import Phase
from splitnet_tf.recipe.preprocessing import WHITEN
from splitnet_tf.splitting import mask_off_blocks, off_block_energy
from splitnet_tf.training import TrainOptions, evaluate

SECTIONS = [("fc2", 2), ("logits", 2)]
plan_of = sn.SplitPlan.from_sections
X = np.zeros((6, 4, 4, 3), np.uint8)
Y = np.zeros(6, np.int32)
images = X.astype("float32")


@pytest.fixture(scope="module")
def mine():
    return sn.models.mlp((8, 6), 4, (4, 4, 3))


@pytest.fixture(scope="module")
def other():
    return sn.models.mlp((10, 6), 5, (4, 4, 3))


def refused(call, kind, sentence):
    with pytest.raises(kind) as caught:
        call()
    said = " ".join(str(caught.value).split())
    assert sentence in said and said.endswith("."), said


def made(**changes):
    split = Split(X, Y)
    settings = {"train": split, "valid": split, "test": split, "class_names": ("a", "b")}
    return Dataset("made", **{**settings, **changes})


DATA = [
    ({"class_names": ("a",)}, "'made' has 1 classes; it needs 2"),
    ({"class_names": ()}, "'made' has 0 classes; it needs 2"),
    ({"train": Split(X[:0], Y[:0])}, "split 'train' is empty; it needs one image or more"),
    ({"test": Split(X, Y + 2)}, "'test': labels must lie from 0 to 1; found 2 to 2"),
    ({"valid": Split(X, Y - 1)}, "'valid': labels must lie from 0 to 1; found -1 to -1"),
    ({"train": Split(X, Y.astype(float))}, "labels must be 6 integers; got float64"),
    ({"train": Split(X, Y[:5])}, "labels must be 6 integers; got int32 (5,)"),
    ({"train": Split(images, Y)}, "images are uint8 (4, 4, 3), those of the training split float"),
    ({"train": Split(images * np.nan, Y)}, "'train': its inputs have values that are not finite"),
    ({"train": Split(X[..., 0], Y)}, "'valid': images are uint8 (4, 4, 3), those of the training"),
    (
        {"valid": Split(X[:, :3], Y)},
        "'valid': images are uint8 (3, 4, 3), those of the training split",
    ),
    (
        {"test": Split(X[..., :1], Y)},
        "'test': images are uint8 (4, 4, 1), those of the training split",
    ),
]


@pytest.mark.parametrize(("changes", "sentence"), DATA)
def test_a_data_set(changes, sentence):
    refused(lambda: made(**changes), DataError, sentence)


@pytest.mark.parametrize("batch_size", [0, -1, 7, 10**9])
def test_a_batch_size(batch_size):
    sentence = f"batch_size must be from 1 to the 6 training images; got {batch_size}"
    refused(
        lambda: data.training_batches(Split(X, Y), batch_size, 0, preprocessing=WHITEN),
        DataError,
        sentence,
    )


PLANS = [
    (None, "A section must be (layer or block name, number of groups); got None"),
    ("logits", "A section must be (layer or block name, number of groups); got 'l'"),
    ([("logits", "x")], "got ('logits', 'x')"),
    ([("logits", 2.5)], "got ('logits', 2.5)"),
    ([(3, 2)], "got (3, 2)"),
    ([("logits", 2, 2)], "got ('logits', 2, 2)"),
    ([("logits", 0)], "Section 'logits' asks for 0 groups; give 1 or more"),
    ([("logits", -2)], "Section 'logits' asks for -2 groups; give 1 or more"),
    ([("logits", 5)], "'logits' has 4 channels, fewer than the 5 groups asked for"),
    ([("fc2", 7)], "'fc2' has 6 channels, fewer than the 7 groups asked for"),
    ([("logits", 10**9)], "fewer than the 1000000000 groups asked for; ask for fewer"),
    ([("nosuch", 2)], "No layer or block of the model is called 'nosuch'; its layers are flatten"),
    ([("logits", 2), ("logits", 3)], "Section 'logits' is given twice"),
    ([("fc2", 3), ("logits", 2)], "'logits' has 2 groups, fewer than the 3 of 'fc2' below it"),
    ([("logits", 2), ("fc2", 2)], "list sections from the bottom up"),
]


@pytest.mark.parametrize(("sections", "sentence"), PLANS)
def test_a_plan(mine, sections, sentence):
    refused(lambda: plan_of(mine, sections), PlanError, sentence)


@pytest.mark.parametrize("model", [None, "mlp", keras.Sequential([keras.layers.Dense(3)])])
def test_what_is_no_functional_model(model):
    refused(lambda: plan_of(model, SECTIONS), PlanError, "has no functional graph; build it with")


# Each is given two models, a plan and a grouping of the first, a plan and a grouping of the other.
OF_ANOTHER = {
    "group_model": lambda a, b, p, g, q, h: sn.group_model(b, p),
    "split_model, plan": lambda a, b, p, g, q, h: sn.split_model(b, g, p),
    "split_model, both": lambda a, b, p, g, q, h: sn.split_model(a, h, q),
    "split_model, grouping": lambda a, b, p, g, q, h: sn.split_model(b, g),
    "mask_off_blocks": lambda a, b, p, g, q, h: mask_off_blocks(b, g, p),
    "off_block_energy": lambda a, b, p, g, q, h: off_block_energy(b, g, p),
    "off_block_energy, grouping": lambda a, b, p, g, q, h: off_block_energy(a, h, p),
    "cost": lambda a, b, p, g, q, h: cost(b, p),
    "cost, grouping": lambda a, b, p, g, q, h: cost(a, p, h),
}


@pytest.mark.parametrize("name", OF_ANOTHER)
def test_a_plan_or_a_grouping_of_another_model(mine, other, name):
    first, second = plan_of(mine, SECTIONS), plan_of(other, SECTIONS)
    given = (mine, other, first, Grouping.even(first), second, Grouping.even(second))
    sentence = "made for another model"
    refused(lambda: OF_ANOTHER[name](*given), (PlanError, GroupingError), sentence)


def changed(mine, change):
    """The text of a right grouping file, after a change."""
    document = json.loads(Grouping.even(plan_of(mine, SECTIONS)).to_json())
    del document["sha256"]
    last = document["spaces"][-1]
    assert last["name"] == "logits" and last["members"] == [[0, 1], [2, 3]]
    change(document, last)
    return json.dumps(document)


FILES = [
    (lambda d, s: s.update(members=[[0, 1], [2, 2]]), "repeated: [2], missing: [3]"),
    (lambda d, s: s.update(members=[[0, 1], [2, 9]]), "missing: [3]"),
    (lambda d, s: s.update(members=[[0, 1], [2, -1]]), "missing: [3]"),
    (lambda d, s: s.update(members=[[0, 1], [2]]), "says size 4 but its members are 3"),
    (lambda d, s: s.update(members=[[0, 1, 2, 3], []]), "Group 1 of space 'logits' is empty"),
    (lambda d, s: s.update(members=[[0, 1], [2, "3"]]), "must be of type int; got '3'"),
    (lambda d, s: s.update(members=[[0, 1], [2, 3.0]]), "must be of type int; got '3.0'"),
    (lambda d, s: s.update(members={}), "'members' must be of type list"),
    (lambda d, s: s.update(name="fc2"), "same name"),
    (lambda d, s: d.update(class_names=["ape"]), "has 4 classes but 1 class names"),
    (lambda d, s: d.update(class_space="fc9"), "no space 'fc9'"),
    (lambda d, s: d.update(sections=[["logits"]]), "must be [layer, number of groups]"),
    (lambda d, s: d.update(version=2), "'version' is 2; this program reads 1"),
    (lambda d, s: d.clear(), "not a grouping file"),
]


@pytest.mark.parametrize(("change", "sentence"), FILES)
def test_a_grouping_file(mine, change, sentence, tmp_path):
    file = tmp_path / "grouping.json"
    file.write_text(changed(mine, change))
    refused(lambda: Grouping.load(file), GroupingError, sentence)
    refused(lambda: Grouping.load(file), GroupingError, str(file))


def test_a_grouping_file_that_is_none(tmp_path):
    none = tmp_path / "none.json"
    refused(lambda: Grouping.load(none), GroupingError, f"{none} does not exist; splitnet_tf.cli")
    refused(lambda: Grouping.load(tmp_path), GroupingError, f"{tmp_path}: it cannot be read: Is a")
    none.write_text("{")
    refused(lambda: Grouping.load(none), GroupingError, f"{none}: not valid JSON")


@pytest.mark.parametrize("labels", [[0, 1, 2], [0, -1, 1], [0.5, 1], [[0, 1]], [float("nan"), 0]])
def test_labels_of_groups(labels):
    sentence = "Space 's' takes a label from 0 to 1 for each channel; got shape"
    refused(lambda: SpaceGroups.from_labels("s", labels, 2), GroupingError, sentence)


SETTINGS = [
    ({"gamma1": float("nan")}, "`gamma1` must be a number of 0 or more; got nan"),
    ({"gamma2": float("inf")}, "`gamma2` must be a number of 0 or more; got inf"),
    ({"gamma3": -1}, "`gamma3` must be a number of 0 or more; got -1"),
    ({"gamma1": "1"}, "`gamma1` must be a number of 0 or more; got '1'"),
    ({"stddev": float("nan")}, "`stddev` must be a number of 0 or more; got nan"),
    ({"scaling": "none"}, "`scaling` must be one of unit, paper; got 'none'"),
    ({"reduction": "sum"}, "`reduction` must be one of mean, weighted; got 'sum'"),
]


@pytest.mark.parametrize(("settings", "sentence"), SETTINGS)
def test_settings_of_the_losses(mine, settings, sentence):
    plan = plan_of(mine, SECTIONS)
    refused(lambda: sn.group_model(mine, plan, **settings), ValueError, sentence)


OTHERS = [
    (lambda m: sn.read_grouping(m), GroupingError, "'mlp' has no grouped layers; make one with"),
    (lambda m: sn.group_model(m, plan_of(m, [])), PlanError, "splits no kernel; give a section"),
    (lambda m: sn.SplitTree(m), ValueError, "'mlp' is not a tree of branches; make one with"),
    (lambda m: evaluate(m, []), DataError, "evaluate needs one batch or more; got none"),
    (lambda m: evaluate(m, [(images, Y + 4)]), DataError, "labels must be from 0 to 3"),
    (lambda m: evaluate(m, [(images, Y - 1)]), DataError, "got -1 to -1"),
    (
        lambda m: TrainOptions(0),
        ArgumentError,
        "`max_steps` must be a whole number from 1 to 99,999,999; got 0",
    ),
    (
        lambda m: Phase(momentum=np.nan),
        ArgumentError,
        "`momentum` must be a number from 0 to below 1",
    ),
    (lambda m: TrainOptions(1, display=0), ArgumentError, "`display` must be a whole number from"),
    (lambda m: TrainOptions(10**12), ArgumentError, "`max_steps` must be a whole number from 1"),
    (lambda m: TrainOptions(1.5), ArgumentError, "`max_steps` must be a whole number from 1"),
    (lambda m: evaluate(m, [(images * np.nan, Y)]), DataError, "Batch 0: its images are not fin"),
    (lambda m: evaluate(m, [(images, Y[:3])]), DataError, "an integer for each of 6 images; got"),
    (lambda m: evaluate(m, [(images, Y / 2)]), DataError, "each of 6 images; got float64 (6,)"),
    (lambda m: data.load_dataset("planted-\u00b2"), DataError, "dataset must be one of cifar100"),
    (lambda m: data.load_dataset("planted-9-9"), DataError, "takes 1 to 64 groups in all"),
    (lambda m: data.load_dataset("planted-1000000000"), DataError, "dataset must be one of"),
    (
        lambda m: data.evaluation_batches(data.Split(X, Y), 0, preprocessing=WHITEN),
        DataError,
        "batch_size must be 1 or more; got 0",
    ),
    (lambda m: sn.models.build("vgg"), ValueError, "model must be one of wrn-<depth>-<width>"),
    (lambda m: sn.models.wide_resnet(11), ValueError, "depth must be 6n + 4 (10, 16, 22, 28"),
    (lambda m: sn.models.wide_resnet(10**9), ValueError, "depth must be 6n + 4 (10, 16, 22, 28"),
    (lambda m: sn.models.wide_resnet(10, 0), ValueError, "width must be from 0.05 to 100; got 0"),
    (lambda m: sn.models.resnet(18, 1e9), ValueError, "width must be from 0.02 to 100; got 1e+09"),
    (lambda m: sn.models.alexnet(width=np.nan), ValueError, "width must be from 0.001 to 10; got"),
    (
        lambda m: data.load_dataset("SVHN"),
        DataError,
        "dataset must be one of cifar100, planted",
    ),
]


@pytest.mark.parametrize(("call", "kind", "sentence"), OTHERS)
def test_other_calls(mine, call, kind, sentence):
    refused(lambda: call(mine), kind, sentence)


def test_what_is_done_with_a_tree(mine, tmp_path):
    tree = sn.split_model(mine, Grouping.even(plan_of(mine, SECTIONS)))
    for devices, trunk, sentence in (
        ([], "replicate", "`devices` must name one device or more"),
        (["x"], "replicate", "'x' is no device; a name is such as /CPU:0"),
        (["/CPU:0"], "x", "`trunk` must be one of replicate, separate, shard; got 'x'"),
        (["/CPU:0", "/CPU:77"], "replicate", "Device '/CPU:77' is not there; there are CPU:0"),
    ):
        refused(lambda d=devices, t=trunk: sn.place(tree, d, t), PlacementError, sentence)
    for formats, sentence in (
        (["x"], "must be of saved_model"),
        ([], "`formats` is empty"),
    ):
        refused(lambda f=formats: sn.export_tree(tree, tmp_path / "e", f), RunError, sentence)
    (tmp_path / "file").touch()
    refused(lambda: sn.export_tree(tree, tmp_path), RunError, "is not empty; choose another")


def test_images_for_batch_norm_keep_the_old_statistics():
    x = inputs = keras.Input((4, 4, 3))
    x = keras.layers.BatchNormalization(name="norm")(x)
    model = keras.Model(inputs, x)
    before = model.get_weights()
    bad = np.full_like(images, np.nan)
    for batches, sentence in (
        ([images, bad], "statistics of batch norm 'norm' are not finite on these images"),
        ([], "Batch norm needs one batch or more to be re-estimated; got none"),
    ):
        refused(lambda b=batches: sn.recalibrate_batch_norm(model, b), DataError, sentence)
        for old, new in zip(before, model.get_weights(), strict=True):
            np.testing.assert_array_equal(old, new)


def test_a_grouping_with_other_sections(mine):
    right = Grouping.even(plan_of(mine, SECTIONS))
    for sections, kind, sentence in (
        ((("fc2", 2), ("logits", 4)), GroupingError, "in 4 groups, but the grouping has 6 in 2"),
        ((("fc9", 2),), PlanError, "No layer or block of the model is called 'fc9'"),
        ((("fc2", 2), ("logits", 0)), PlanError, "Section 'logits' asks for 0 groups"),
    ):
        wrong = dataclasses.replace(right, sections=sections)
        refused(lambda g=wrong: sn.split_model(mine, g), kind, sentence)
