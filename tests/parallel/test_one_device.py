"""Forms of a tree on one device: all the same function."""

import keras
import numpy as np
import pytest

import splitnet_tf as sn
from splitnet_tf.parallel import FORMS, one_device_forward
from tests.conftest import random_grouping, scramble

pytestmark = pytest.mark.skipif(
    keras.backend.backend() != "tensorflow", reason="placement is TensorFlow's"
)


def make_tree(even):
    model = scramble(sn.models.wide_resnet(10, 1, 12, (8, 8, 3)))
    plan = sn.SplitPlan.from_sections(model, [("unit_2_0", 2), ("unit_3_0", 4)])
    rng = np.random.default_rng(3)
    return sn.split_model(
        model, sn.Grouping.even(plan) if even else random_grouping(plan, rng), plan
    )


@pytest.fixture(scope="module")
def tree():
    return make_tree(True)


@pytest.mark.parametrize("form", FORMS)
def test_each_form_computes_what_the_tree_computes(tree, form):
    x = np.random.default_rng(0).normal(size=(5, 8, 8, 3)).astype("float32")
    name, forward, timings = one_device_forward(tree, form, x)
    assert (name, timings) == (form, {})
    expected = tree.model(x, training=False).numpy()
    assert np.abs(forward(x).numpy() - expected).max() < 1e-5 * np.abs(expected).max()


@pytest.mark.parametrize("even", [True, False])
def test_auto_takes_the_fastest_of_those_that_the_tree_has(even):
    tree = make_tree(even)
    x = np.random.default_rng(0).normal(size=(5, 8, 8, 3)).astype("float32")
    name, forward, timings = one_device_forward(tree, "auto", x)
    assert timings[name].median == min(t.median for t in timings.values())
    assert ("grouped" in timings) == even
    assert {"none", "jit"} <= set(timings)
    expected = tree.model(x, training=False).numpy()
    assert np.abs(forward(x).numpy() - expected).max() < 1e-5 * np.abs(expected).max()
