"""Sparse training in this package's own loop: one step, bfloat16, resumed steps."""

import keras
import numpy as np
import pytest

from splitnet_tf.recipe.losses import CrossEntropy
from splitnet_tf.recipe.optimizers import optimizer_for
from splitnet_tf.recipe.phase import Phase
from splitnet_tf.sparsity import SparsityPlan, sparse_model, step_of
from tests.conftest import small_alexnet
from tests.sparsity import slow_loops
from tests.sparsity.zeros import settle

if keras.backend.backend() != "tensorflow":
    pytest.skip("the loop runs on TensorFlow", allow_module_level=True)

from splitnet_tf.training.step import TrainStep

RATE = 0.1
PLAN = SparsityPlan(spaces=0.05, shapes={"conv1": 0.1})


def plain_model():
    model = settle(small_alexnet(num_classes=3, channels=3), 1)
    model.get_layer("drop").rate = 0.0
    return model


def batch(seed=0):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(8, 12, 12, 3)).astype("float32"), rng.integers(0, 3, 8)


def weights(model):
    return {v.path: v.numpy() for v in model.trainable_variables}


def stepper(model, plan=None, **settings):
    after = None if plan is None else step_of(model, plan)
    phase = Phase(momentum=0.9, l2=0.0)
    return TrainStep(model, CrossEntropy(), optimizer_for(phase, after_step=after), **settings)


@pytest.mark.parametrize("settings", [{}, {"jit_compile": True}, {"bfloat16": True}], ids=str)
def test_a_step_is_the_plain_step_and_the_proximal_one(settings):
    plain, sparse = plain_model(), sparse_model(plain_model(), PLAN)
    terms = PLAN.terms(sparse)
    before = weights(sparse)
    scalars = stepper(plain, **settings)(*batch(), RATE)
    found = stepper(sparse, PLAN, **settings)(*batch(), RATE)
    penalty = sum(float(t.strengths @ slow_loops.norms(t.groups, before)) for t in terms)
    np.testing.assert_allclose(float(found["model_loss_0"]), penalty, rtol=1e-4)
    np.testing.assert_allclose(float(found["gradients"]), float(scalars["gradients"]), rtol=1e-3)
    expected = weights(plain)
    for term in terms:
        expected |= slow_loops.proximal(term.groups, expected, RATE * term.strengths)
    for path, value in weights(sparse).items():
        np.testing.assert_allclose(value, expected[path], rtol=1e-4, atol=1e-5, err_msg=path)


def test_what_a_checkpoint_holds_goes_on_to_the_bit():
    whole = sparse_model(plain_model(), PLAN)
    step = stepper(whole, PLAN)
    for i in range(4):
        if i == 2:
            step.optimizer._after_step.strength.assign(0.5)
            kept = [v.numpy() for v in step.variables]
        step(*batch(i), RATE)
    again = sparse_model(plain_model(), PLAN)
    resumed = stepper(again, PLAN)
    for variable, value in zip(resumed.variables, kept, strict=True):
        variable.assign(value)
    for i in (2, 3):
        resumed(*batch(i), RATE)
    for path, value in weights(again).items():
        np.testing.assert_array_equal(value, weights(whole)[path])
