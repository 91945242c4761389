"""Given groupings through the group program: they come out as they were given."""

import numpy as np
import pytest

from splitnet_tf import data
from splitnet_tf.grouping import Grouping, SplitPlan
from splitnet_tf.grouping.given import random_classes
from splitnet_tf.storage.json_files import read_json
from splitnet_tf.storage.models import load_model
from tests.cli.forked import run
from tests.cli.small_programs import COMMON, GROUP, small_model


@pytest.mark.parametrize(
    ("name", "features"),
    [
        ("semantic", "learned"),
        pytest.param("random", "even", marks=pytest.mark.slow),
        pytest.param("clustering", "learned", marks=pytest.mark.slow),
    ],
)
def test_given_groups_stay(tmp_path, name, features):
    small_model(tmp_path / "small.keras")
    code, printed = run(
        "group",
        [
            *(*COMMON, *GROUP, "--seed=4", "--warmup_epochs=0.2"),
            *(["--clusters_of=confusion"] if name == "clustering" else []),
            *(f"--model={tmp_path / 'small.keras'}", f"--train_dir={tmp_path / 'group'}"),
            *(f"--grouping={name}", f"--features={features}"),
        ],
        tmp_path / "out",
    )
    assert code == 0, printed[-2000:]
    found = Grouping.load(tmp_path / "group" / "grouping.json")
    assert found.method == f"{name}, features {features}, argmax"
    planted = data.planted_groups(seed=4)
    labels = found.classes.labels()
    if name == "semantic":
        assert len(set(zip(labels, planted.superclasses, strict=True))) == 2
    elif name == "random":
        plan = SplitPlan.from_sections(load_model(tmp_path / "small.keras"), found.sections)
        assert (labels == random_classes(8, plan, 4)).all()
        features_of = [s.labels() for s in found.spaces if s.name != found.class_space]
        assert features_of and all((x == np.repeat([0, 1], 4)).all() for x in features_of)
    assert np.bincount(labels).tolist() == [4, 4]
    assert read_json(tmp_path / "group" / "result.json")["steps"] > 0
