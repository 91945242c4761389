"""The tables of teachers: given groups, rows that are taught, and what the page says of them."""

import dataclasses

import keras
import numpy as np
import pytest

from experiments.given import given_groups
from experiments.recipe import SCALES, recipe_document
from experiments.row import Row
from experiments.run import run_row
from experiments.teacher import teacher_section
from experiments.variants import recipe_of
from splitnet_tf import models
from splitnet_tf.data import planted_groups
from splitnet_tf.grouping import Grouping, SplitPlan
from splitnet_tf.recipe.distillation import TaughtCrossEntropy, with_answers
from splitnet_tf.storage.models import load_model
from tests.conftest import to_numpy
from tests.preprocessed import whitened


@pytest.fixture(scope="module")
def data():
    found = planted_groups((2, 2), num_train=128, num_valid=48, num_test=48)
    superclasses = found.groups[-1]
    names = tuple(f"group {k}" for k in range(superclasses.max() + 1))
    return dataclasses.replace(found, superclasses=superclasses, superclass_names=names)


def test_the_worst_groups_tear_every_superclass_apart(data):
    model = models.wide_resnet(10, 0.25, data.num_classes, data.input_shape)
    plan = SplitPlan.from_sections(model, [("logits", 2)])
    labels = given_groups("worst", plan, data, 0)
    for superclass in range(data.superclasses.max() + 1):
        inside = labels[data.superclasses == superclass]
        assert abs((inside == 0).sum() - (inside == 1).sum()) <= 1
    assert np.bincount(labels).tolist() == [data.num_classes // 2] * 2
    assert given_groups("learned", plan, data, 0) is None


@pytest.mark.slow  # a teacher and a tree are trained
def test_a_tree_of_given_groups_is_taught(data, tmp_path):
    recipe = dataclasses.replace(SCALES["smoke"], width=0.25, batch_size=32, teacher="smoke")
    recipe = dataclasses.replace(recipe, classes="worst", group_loss=0.5)
    row = Row("smoke", "deep", 1)
    found = run_row(row, recipe, data, tmp_path)
    (folder,) = (tmp_path / "smoke").glob("deep-*")
    (teacher,) = (tmp_path / "smoke").glob("baseline-seed0-*")
    tree, grouping = load_model(folder / "tree.keras"), Grouping.load(folder / "grouping.json")
    images, labels = whitened(data.valid.images), data.valid.labels
    logits = to_numpy(tree(images, training=False))
    assert found["valid_error"] == pytest.approx(1 - np.mean(logits.argmax(1) == labels))
    assert found["moved"]["classes"] == 0 and found["group_weight"][0] > 0
    groups = grouping.classes.labels()
    model = models.wide_resnet(10, 0.25, data.num_classes, data.input_shape)
    plan = SplitPlan.from_sections(model, [("logits", 2)])
    worst = given_groups("worst", plan, data, 1)
    assert (groups == worst).all() or (groups != worst).all()
    # The last loss on the validation images is that of the teacher's answers and the groups.
    answers = load_model(teacher / "model.keras")(images, training=False)
    loss = TaughtCrossEntropy(0.9, 4.0, groups=groups, group_weight=0.5)
    expected = float(keras.ops.mean(loss.call(with_answers(labels, answers), logits)))
    kernels = [to_numpy(w) for w in tree.weights if w.path.endswith("kernel")]
    expected += recipe.finetune.l2 / 2 * sum(np.sum(k**2) for k in kernels)
    logged = np.loadtxt(folder / "finetune" / "log.csv", delimiter=",", skiprows=1)[-1]
    assert logged[4] == pytest.approx(expected, rel=1e-3)


def made(split, seed, error, variant="", **more):
    return {
        **{"row": Row("wrn-10-2", split, seed, variant).document(), "data": "cifar100"},
        **{"recipe": recipe_document(recipe_of("wrn-10-2", variant)), "error": error},
        **{"valid_error": error + 0.01, "params": 100_000, "flops": 10**9, "backend": "jax"},
        **{"device": "a card", "precision": "mixed_bfloat16", **more},
    }


def test_rows_become_a_table_with_differences_seed_by_seed():
    moved = {"moved": {"classes": 0.16, "features": 0.5}, "group_weight": [1.5, 0.25]}
    stages = {"error_before_recalibrated": 0.6, "error_after_cut_recalibrated": 0.625}
    rows = [made("baseline", 0, 0.35), made("baseline", 1, 0.33)]
    rows += [made("deep", s, e, nmi=0.25, **moved, **stages) for s, e in ((0, 0.39), (1, 0.38))]
    rows += [made("deep", 1, 0.36, "teacher"), made("slim", 2, 0.4)]
    text = "\n".join(teacher_section({"wrn-10-2": rows}))
    assert "| whole | 2 | 34.00 ± 1.41 | - | 35.00 ± 1.41 | - | - | - |" in text
    tree = "| tree | 2 | 38.50 ± 0.71 | 4.50 ± 0.71 | 39.50 ± 0.71 | 60.00 ± 0.00 | 62.50 ± 0.00 |"
    assert f"{tree} 0.250 ± 0.000 | 16 ± 0 | 50 ± 0 | 1.500 ± 0.000 | 0.250 ± 0.000 |" in text
    assert "| tree-teacher | 1 | 36.00 | 3.00 |" in text and "| narrowed | 1 | 40.00 | - |" in text
    assert "Not measured: whole-teacher, narrowed-teacher, tree-half-teacher, tree-groups" in text
    assert "No row was measured of WRN-16-2, WRN-16-4, WRN-16-8." in text
    how = "KERAS_BACKEND=jax python -m experiments.teacher --scale=wrn-10-2 --bfloat16"
    assert how in text and "--rows=whole,narrowed,tree,tree-teacher" in text
    assert teacher_section({"small": rows}) == []
