"""Paces and the step after the step against NumPy, alone and in ``fit``."""

import keras
import numpy as np
import pytest
from keras import layers, ops

from splitnet_tf.errors import ArgumentError
from splitnet_tf.recipe.optimizers import SGD, AdamW, optimizer_for, paced
from splitnet_tf.recipe.phase import Phase
from tests.conftest import to_numpy

RATE, STRENGTH = 0.1, 0.3


@keras.saving.register_keras_serializable(package="tests")
class Shrink:
    """A toy proximal step: the l1 norm's, for each number of each kernel."""

    def __init__(self, strength=STRENGTH):
        self.strength = strength

    def __call__(self, variables, rate):
        for v in variables:
            if v.name == "kernel":
                size = ops.maximum(ops.abs(v) - rate * self.strength, 0.0)
                v.assign(ops.sign(v) * size)

    def get_config(self):
        return {"strength": self.strength}

    @classmethod
    def from_config(cls, config):
        return cls(**config)


def shrunk(value, rate=RATE):
    return np.sign(value) * np.maximum(np.abs(value) - rate * STRENGTH, 0)


def sgd(values, gradients, factor, momentum, nesterov, after=lambda v: v):
    """Gradients scaled by the factor, one after the other."""
    value, velocity = values.astype("float64"), 0.0
    for gradient in gradients:
        gradient = factor * gradient
        velocity = momentum * velocity - RATE * gradient
        value = value + (momentum * velocity - RATE * gradient if nesterov else velocity)
        value = after(value)
    return value


def adamw(values, gradients, factor, decay, after=lambda v: v):
    """The whole update scaled by the factor."""
    value, m, v = values.astype("float64"), 0.0, 0.0
    for t, gradient in enumerate(gradients, 1):
        m, v = 0.9 * m + 0.1 * gradient, 0.999 * v + 0.001 * gradient**2
        ratio = m / (1 - 0.9**t) * np.sqrt(1 - 0.999**t) / (np.sqrt(v) + 1e-7)
        value = after(value - factor * RATE * (ratio + decay * value))
    return value


def apply(optimizer, gradients, variables):
    """One step; on JAX the stateless one, the only one that Keras' loss scaling has there."""
    gradients = [ops.convert_to_tensor(g) for g in gradients]
    if keras.backend.backend() != "jax":
        optimizer.apply(gradients, variables)
        return
    if not optimizer.built:
        optimizer.build(variables)
    own = optimizer.variables
    found = optimizer.stateless_apply(
        [v.value for v in own], gradients, [v.value for v in variables]
    )
    for variable, value in zip([*variables, *own], [*found[0], *found[1]], strict=True):
        variable.assign(value)


START = np.array([1.0, -0.5, 0.02, 0.0], "float32")
GRADIENTS = np.random.default_rng(0).normal(size=(4, 4)).astype("float32")
KINDS = {
    "sgd": (lambda **a: SGD(RATE, **a), lambda *a: sgd(*a[:3], 0.0, False, *a[3:])),
    "momentum": (
        lambda **a: SGD(RATE, momentum=0.9, **a),
        lambda *a: sgd(*a[:3], 0.9, False, *a[3:]),
    ),
    "nesterov": (
        lambda **a: SGD(RATE, momentum=0.9, nesterov=True, **a),
        lambda *a: sgd(*a[:3], 0.9, True, *a[3:]),
    ),
    "adamw": (
        lambda **a: AdamW(RATE, weight_decay=0.05, **a),
        lambda *a: adamw(*a[:3], 0.05, *a[3:]),
    ),
}


@pytest.mark.parametrize("scaled", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_paces_and_the_step_after_the_step(kind, scaled):
    """Plain and under ``LossScaleOptimizer``, as mixed_float16 has it."""
    make, expected = KINDS[kind]
    one, fast, still = (keras.Variable(START, name="kernel") for _ in range(3))
    optimizer = make(paces={id(fast): 5.0, id(still): 0.0, 1: 7.0}, after_step=Shrink())
    if scaled:
        optimizer = keras.optimizers.LossScaleOptimizer(optimizer, initial_scale=8.0)
    for gradient in GRADIENTS:
        apply(optimizer, [gradient * (8 if scaled else 1)] * 3, [one, fast, still])
    for variable, factor in ((one, 1.0), (fast, 5.0), (still, 0.0)):
        value = expected(START, GRADIENTS, factor, shrunk)
        np.testing.assert_allclose(to_numpy(variable.value), value, rtol=1e-4, atol=1e-6)
    if scaled:  # a step that is left out has no step after it
        before = to_numpy(one.value)
        apply(optimizer, [np.full(4, np.inf, "float32")] * 3, [one, fast, still])
        np.testing.assert_array_equal(to_numpy(one.value), before)


@pytest.mark.parametrize("kind", KINDS)
def test_without_arguments_it_is_the_optimizer_of_keras(kind):
    own = KINDS[kind][0]()
    config = own.get_config()
    stock = type(own).__mro__[2].from_config(config)
    assert type(stock).__module__.startswith("keras.")
    found, expected = keras.Variable(START), keras.Variable(START)
    for gradient in GRADIENTS:
        apply(own, [gradient], [found])
        apply(stock, [gradient], [expected])
    assert len(own.variables) == len(stock.variables)
    np.testing.assert_allclose(to_numpy(found.value), to_numpy(expected.value), rtol=1e-6)


def linear():
    """x -> x W + b: the gradient of the squared error can be written down."""
    inputs = keras.Input((3,))
    model = keras.Model(inputs, layers.Dense(2)(inputs))
    rng = np.random.default_rng(1)
    model.set_weights([rng.normal(size=(3, 2)), rng.normal(size=2)])
    return model


@pytest.mark.parametrize("policy", ["float32", "mixed_float16"])
@pytest.mark.parametrize("kind", ["nesterov", "adamw"])
def test_fit_takes_the_same_steps(kind, policy):
    make, expected = KINDS[kind]
    rng = np.random.default_rng(2)
    x, y = (rng.normal(size=(4, n)).astype("float32") for n in (3, 2))
    keras.config.set_dtype_policy(policy)
    try:
        model = linear()
    finally:
        keras.config.set_dtype_policy("float32")
    kernel, bias = model.get_weights()
    paces = {id(model.trainable_variables[1]): 2.0}
    optimizer = make(paces=paces, after_step=Shrink())
    if policy == "mixed_float16":
        optimizer = keras.optimizers.LossScaleOptimizer(optimizer, initial_scale=8.0)
    model.compile(optimizer, "mean_squared_error")
    model.fit(x, y, epochs=1, batch_size=4, verbose=0)
    error = (x @ kernel + bias - y) / 4
    near = {"rtol": 1e-4, "atol": 1e-5} if policy == "float32" else {"rtol": 0.01, "atol": 2e-3}
    found = model.get_weights()
    np.testing.assert_allclose(found[0], expected(kernel, [x.T @ error], 1.0, shrunk), **near)
    np.testing.assert_allclose(found[1], expected(bias, [error.sum(axis=0)], 2.0), **near)


def test_fit_gives_the_step_after_the_step_the_scheduled_rate():
    x, y = np.zeros((4, 3), "float32"), np.zeros((4, 2), "float32")
    model = linear()
    kernel = model.get_weights()[0]
    schedule = keras.optimizers.schedules.PiecewiseConstantDecay([0], [0.1, 0.7])
    model.compile(SGD(schedule, after_step=Shrink()), "mean_squared_error")
    model.fit(x, y, epochs=2, batch_size=4, verbose=0)
    value = shrunk(shrunk(kernel, 0.1), 0.7)
    np.testing.assert_allclose(model.get_weights()[0], value, rtol=1e-5, atol=1e-7)


def test_averages_are_of_what_the_step_after_the_step_leaves():
    variable = keras.Variable(START, name="kernel")
    optimizer = SGD(RATE, use_ema=True, ema_momentum=0.5, after_step=Shrink())
    value, average = START.astype("float64"), None
    for n, gradient in enumerate(GRADIENTS):
        apply(optimizer, [gradient], [variable])
        value = shrunk(value - RATE * gradient)
        share = min(0.5, (1 + n) / (10 + n))
        average = value if average is None else share * average + (1 - share) * value
    optimizer.finalize_variable_values([variable])
    np.testing.assert_allclose(to_numpy(variable.value), average, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("start", [0, 3])
def test_averages_of_few_steps_are_of_these_alone(start):
    variable, seen = keras.Variable([1.0, -2.0]), []
    optimizer = SGD(0.1, use_ema=True, ema_momentum=0.3, average_from=start)
    for step in range(8):
        optimizer.apply([ops.convert_to_tensor([step - 2.0, 1.0])], [variable])
        seen.append(to_numpy(variable))
    average = seen[start]
    for n, value in enumerate(seen[start + 1 :], 1):
        share = min(0.3, (1 + n) / (10 + n))
        average = share * average + (1 - share) * value
    optimizer.finalize_variable_values([variable])
    np.testing.assert_allclose(to_numpy(variable), average, rtol=1e-5)
    again = SGD.from_config(optimizer.get_config())
    assert again.average_from == start


def test_accumulated_gradients_have_one_step_after_the_step():
    variable = keras.Variable(START, name="kernel")
    optimizer = SGD(RATE, gradient_accumulation_steps=2, after_step=Shrink())
    for gradient in GRADIENTS[:2]:
        apply(optimizer, [gradient], [variable])
    value = shrunk(START - RATE * GRADIENTS[:2].mean(axis=0))
    np.testing.assert_allclose(to_numpy(variable.value), value, rtol=1e-5, atol=1e-7)


def test_a_saved_model_trains_on_with_its_paces(tmp_path):
    model = linear()
    model.compile(SGD(0.1, paces={id(model.trainable_variables[1]): 2.0}, after_step=Shrink(0.5)))
    with pytest.raises(ArgumentError, match=r"call `optimizer.build\(model.trainable_variables\)`"):
        model.optimizer.get_config()
    model.optimizer.build(model.trainable_variables)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert type(loaded.optimizer) is SGD
    one, two = model.optimizer.get_config(), loaded.optimizer.get_config()
    assert one["paces"] == {loaded.trainable_variables[1].path: 2.0}
    assert one == two and one["after_step"]["config"] == {"strength": 0.5}


def test_paces_are_of_a_class_of_optimizers():
    for wrong in ("adam", keras.layers.Dense, keras.optimizers.Adam()):
        with pytest.raises(ArgumentError, match="`kind` must be a class of Keras' optimizers"):
            paced(wrong)


def test_the_optimizer_of_a_phase():
    found = optimizer_for(Phase(momentum=0.8, nesterov=True, ema=0.99), {1: 2.0})
    assert type(found) is SGD and found.momentum == 0.8 and found.nesterov
    assert found.use_ema and found.ema_momentum == 0.99
    assert float(found.learning_rate) == 0.0
    plain = optimizer_for(Phase(momentum=0))
    assert not plain.nesterov and not plain.use_ema
    schedule = keras.optimizers.schedules.CosineDecay(0.1, 10)
    found = optimizer_for(Phase(optimizer="adamw"), learning_rate=schedule)
    assert type(found) is AdamW and found.weight_decay == 0
    np.testing.assert_allclose(float(found.learning_rate), 0.1)
