"""Rows with teachers and given groups: what they say is what their models do."""

import dataclasses

import numpy as np
import pytest

from experiments.recipe import recipe_document
from experiments.teacher import (
    COLLECTED,
    collect_teacher,
    is_of_today,
    read_teacher,
    teacher_section,
)
from experiments.teacher_rows import BY_NAME, RECIPE, given_groups, run_row
from splitnet_tf import models
from splitnet_tf.data import Dataset, planted_groups
from splitnet_tf.data.feeds import SplitFeed
from splitnet_tf.grouping import SplitPlan
from splitnet_tf.recipe import Phase
from splitnet_tf.recipe.preprocessing import WHITEN
from splitnet_tf.stages.finetune import finetune
from splitnet_tf.storage.json_files import read_json, write_json
from splitnet_tf.storage.models import load_model
from tests.conftest import to_numpy
from tests.preprocessed import whitened


@pytest.fixture(scope="module")
def data():
    found = planted_groups((2, 2), num_train=128, num_valid=48, num_test=48)
    superclasses = found.groups[-1]
    names = tuple(f"group {k}" for k in range(superclasses.max() + 1))
    return dataclasses.replace(found, superclasses=superclasses, superclass_names=names)


def test_the_worst_groups_tear_every_superclass_apart(data: Dataset):
    model = models.wide_resnet(10, 0.25, data.num_classes, data.input_shape)
    plan = SplitPlan.from_sections(model, [("logits", 2)])
    labels = given_groups("worst", plan, data, 0).labels
    for superclass in range(data.superclasses.max() + 1):
        inside = labels[data.superclasses == superclass]
        assert abs((inside == 0).sum() - (inside == 1).sum()) <= 1
    assert np.bincount(labels).tolist() == [data.num_classes // 2] * 2
    assert given_groups("learned", plan, data, 0) is None


@pytest.mark.slow  # three networks are trained
def test_rows_say_what_their_models_do(data, tmp_path):
    short = Phase(1, 0.05)
    group = dataclasses.replace(RECIPE.group, epochs=1)
    recipe = dataclasses.replace(RECIPE, width=1, plain=short, group=group, finetune=short)
    recipe = dataclasses.replace(recipe, baseline=short, batch_size=32)
    whole = tmp_path / "whole"
    train, valid = (
        SplitFeed(part, 32, 0, preprocessing=WHITEN) for part in (data.train, data.valid)
    )
    model = models.wide_resnet(10, 1, data.num_classes, data.input_shape)
    finetune(model, train, valid, short, run=whole, test=valid)

    def error(path):
        logits = to_numpy(load_model(path)(whitened(data.test.images), training=False))
        return 1 - np.mean(logits.argmax(1) == data.test.labels)

    runs = tmp_path / "runs"
    for name, file in (
        ("tree-teacher-groups", "tree.keras"),
        ("narrowed-teacher", "model.keras"),
    ):
        found = run_row(BY_NAME[name], 0, data, whole, runs, recipe)
        model = runs / f"{name}-seed0" / file
        assert found["error"] == pytest.approx(error(model), abs=0.03)  # bfloat16
        assert found["epochs"] == (3 if "tree" in name else 2) and found["minutes"] > 0
        assert run_row(BY_NAME[name], 0, data, whole, runs, recipe) == found
    assert read_json(runs / "tree-teacher-groups-seed0" / "config.json")["teacher_digest"]


def made(name, seed, error, **more):
    return {
        **{"row": name, "seed": seed, "recipe": recipe_document(RECIPE), "device": "a processor"},
        **{"error": error, "valid_error": error + 0.01, "params": 100_000, "flops": 10**9},
        **{"epochs": 36.5, "minutes": 12.3, **more},
    }


def test_rows_become_a_table_that_names_what_is_missing(tmp_path):
    moved = {"moved": {"classes": 0.16, "features": 0.5}, "group_weight": [1.5, 0.25]}
    rows = [made("whole", 0, 0.3668), made("tree", 0, 0.4, nmi=0.25, **moved), made("tree", 1, 0.5)]
    for row in rows:
        write_json(tmp_path / "runs" / f"row-{row['row']}-seed{row['seed']}.json", row)
    other = {**made("tree", 2, 0.1), "recipe": {}}
    write_json(tmp_path / "runs" / "row-tree-seed2.json", other)
    assert len(collect_teacher(tmp_path / "runs", tmp_path / "rows")) == 3
    assert collect_teacher(tmp_path / "runs", tmp_path / "rows") == []
    text = "\n".join(teacher_section(read_teacher(tmp_path / "rows")))
    assert "| whole | 1 | 36.68 | 37.68 | - | - | - |" in text
    assert "| tree | 2 | 45.00 ± 7.07 | 46.00 ± 7.07 | - | - | 0.250 | 16 | 50 | 1.500 |" in text
    assert "not measured: tree-teacher, tree-groups" in text and "--rows=whole,tree" in text
    assert teacher_section([]) == []


def test_rows_in_the_repository_are_of_todays_recipe():
    assert all(is_of_today(read_json(path)) for path in COLLECTED.glob("*.json"))
