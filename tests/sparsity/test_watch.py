"""Counts of groups at zero, and the strength that would have made one more."""

import numpy as np

import splitnet_tf as sn
from splitnet_tf.sparsity import SparsityPlan, needed_factor, proximal_step, zero_counts
from tests.conftest import to_numpy

NET = sn.models.mlp((3,), num_classes=2, input_shape=(4,))
PLAN = SparsityPlan(channels={"fc1": 0.5, "logits": 0.0})
TERMS = PLAN.terms(NET)


def weights():
    """Rows of fc1 with norms 0, 2, 4, 6."""
    kernel = np.zeros((4, 3), "float32")
    kernel[:, 1] = [0, 2, 4, 6]
    return {"fc1/kernel": kernel, "logits/kernel": np.ones((3, 2), "float32") / 100}


def test_groups_at_zero_are_counted():
    one, two = zero_counts(TERMS, weights())
    assert (one.structure, one.name, one.zero, one.count, one.least) == ("channels", "fc1", 1, 4, 2)
    assert (two.zero, two.count) == (0, 3)
    dead = {path: 0 * value for path, value in weights().items()}
    assert zero_counts(TERMS, dead)[0].least is None


def test_the_factor_is_what_would_have_made_one_more_zero():
    """As much again is taken from every norm when the steps are done once more with it."""
    assert needed_factor(TERMS, weights(), rates=4.0) == 2.0  # 4 x 0.5 was taken, 2 are left
    more = (2.0 - 1) * 4.0 * TERMS[0].strengths
    after = to_numpy(proximal_step(TERMS[0].groups, weights(), more)["fc1/kernel"])
    assert (after[:2] == 0).all() and (after[2:] != 0).any(axis=1).all()


def test_nothing_can_be_said():
    assert needed_factor(TERMS, weights(), rates=0.0) is None
    dead = {path: 0 * value for path, value in weights().items()}
    assert needed_factor(TERMS, dead, rates=1.0) is None
