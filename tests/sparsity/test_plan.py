"""Plans: strengths by structure and name, checked."""

import json

import numpy as np
import pytest

import splitnet_tf as sn
from splitnet_tf.errors import ArgumentError
from splitnet_tf.sparsity import SparsityPlan

NET = sn.models.mlp((6, 5), num_classes=3, input_shape=(4,))


def terms(**settings):
    return {
        (t.groups.structure, t.groups.name): t.strengths
        for t in SparsityPlan(**settings).terms(NET)
    }


def test_one_strength_for_all_layers_of_a_structure():
    found = terms(spaces=0.1, channels=0.2)
    assert list(found) == [
        ("channels", "fc1"), ("channels", "fc2"), ("channels", "logits"),
        ("spaces", "fc1"), ("spaces", "fc2"),
    ]  # fmt: skip
    np.testing.assert_allclose(found["spaces", "fc2"], np.full(5, 0.1), rtol=1e-6)
    np.testing.assert_allclose(found["channels", "fc1"], np.full(4, 0.2), rtol=1e-6)


def test_a_strength_for_each_name():
    found = terms(spaces={"fc2": 0.3, "fc1": 0.1})
    np.testing.assert_allclose(found["spaces", "fc1"], np.full(6, 0.1), rtol=1e-6)
    np.testing.assert_allclose(found["spaces", "fc2"], np.full(5, 0.3), rtol=1e-6)


def test_the_root_of_the_size():
    found = terms(spaces=0.1, factor="sqrt_size")
    # fc2: 6 weights and a bias make a unit, 3 weights read it.
    np.testing.assert_allclose(found["spaces", "fc2"], np.full(5, 0.1 * 10**0.5), rtol=1e-6)


def test_a_plan_is_data():
    import dataclasses

    plan = SparsityPlan(filters=0.003, shapes={"conv2": 0.001}, update="subgradient")
    assert plan.structures == ("filters", "shapes")
    assert SparsityPlan(**json.loads(json.dumps(dataclasses.asdict(plan)))) == plan


@pytest.mark.parametrize(
    "settings, sentence",
    [
        ({}, "A plan needs a strength above 0 for one of filters, channels"),
        ({"spaces": {"fc1": 0.0}}, "A plan needs a strength above 0"),
        ({"spaces": -1}, "`spaces` must be a number of 0 or more; got -1"),
        ({"depth": {"fc1": float("inf")}}, "`depth` must be a number of 0 or more; got inf"),
        ({"spaces": 1, "factor": "unit"}, "`factor` must be one of none, sqrt_size; got 'unit'"),
        ({"spaces": 1, "update": "adam"}, "`update` must be one of proximal, subgradient"),
        ({"spaces": 1, "threshold": -1.0}, "`threshold` must be a number of 0 or more; got -1.0"),
    ],
)
def test_wrong_plans(settings, sentence):
    with pytest.raises(ArgumentError, match=sentence):
        SparsityPlan(**settings)


def test_plans_that_do_not_fit_the_model():
    with pytest.raises(ArgumentError, match="'fc9' is no channel space"):
        SparsityPlan(spaces={"fc9": 1.0}).terms(NET)
    with pytest.raises(ArgumentError, match="`depth`: no layer of the model has such groups"):
        SparsityPlan(depth=1.0).terms(NET)
