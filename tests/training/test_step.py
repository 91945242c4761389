"""One step against NumPy, stop conditions by hand."""

import keras
import numpy as np
import pytest

from splitnet_tf.errors import ArgumentError
from splitnet_tf.grouping.convergence import GroupingConverged
from splitnet_tf.recipe import SGD, CrossEntropy
from splitnet_tf.training import TrainOptions, TrainStep
from splitnet_tf.training.stopping import Patience


def softmax(x):
    e = np.exp(x - x.max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)


@pytest.mark.parametrize("nesterov", [False, True])
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_steps_are_sgd_with_momentum_and_l2_in_the_loss(nesterov, smoothing):
    """Three steps of softmax regression, in closed form."""
    rng = np.random.default_rng(0)
    inputs = keras.Input((4,))
    model = keras.Model(inputs, keras.layers.Dense(3, name="dense")(inputs))
    paces = {id(model.get_layer("dense").bias): 3.0}
    optimizer = SGD(0.0, momentum=0.8, nesterov=nesterov, paces=paces)
    step = TrainStep(model, CrossEntropy(smoothing), optimizer, l2=0.1)
    w, b = (x.astype("float64") for x in model.get_layer("dense").get_weights())
    speed = [np.zeros_like(w), np.zeros_like(b)]
    for rate in (0.1, 0.2, 0.05):
        x, y = rng.normal(size=(5, 4)).astype("float32"), rng.integers(0, 3, 5).astype("int32")
        p = softmax(x @ w + b)
        target = np.eye(3)[y] * (1 - smoothing) + smoothing / 3
        loss = -np.mean(np.sum(target * np.log(p), axis=1))
        gradients = [x.T @ (p - target) / 5 + 0.1 * w, 3.0 * (p - target).mean(axis=0)]
        found = step(x, y, rate)
        assert float(found["cross_entropy"]) == pytest.approx(loss, rel=1e-5)
        assert float(found["accuracy"]) == pytest.approx(np.mean(p.argmax(axis=1) == y))
        for i, g in enumerate(gradients):
            speed[i] = 0.8 * speed[i] - rate * g
            change = 0.8 * speed[i] - rate * g if nesterov else speed[i]
            if i == 0:
                w = w + change
            else:
                b = b + change
    np.testing.assert_allclose(model.get_layer("dense").kernel, w, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(model.get_layer("dense").bias, b, rtol=1e-4, atol=1e-6)
    assert step.l2() == pytest.approx(0.05 * np.square(w).sum(), rel=1e-4)


@pytest.mark.parametrize("jit_compile", [False, True])
def test_a_step_is_compiled_by_xla_when_asked(jit_compile):
    inputs = keras.Input((4,))
    model = keras.Model(inputs, keras.layers.Dense(3)(inputs))
    step = TrainStep(model, CrossEntropy(), SGD(), jit_compile=jit_compile)
    batch = np.ones((2, 4), "float32"), np.zeros(2, "int32"), np.float32(0.1), None
    if jit_compile:
        assert "HloModule" in step._step.experimental_get_compiler_ir(*batch)("hlo")
    else:
        with pytest.raises(ValueError, match="jit_compile"):
            step._step.experimental_get_compiler_ir(*batch)


def test_batch_norm_and_biases_have_no_l2():
    inputs = keras.Input((4,))
    x = keras.layers.BatchNormalization(name="bn")(keras.layers.Dense(3)(inputs))
    model = keras.Model(inputs, x)
    step = TrainStep(model, CrossEntropy(), SGD(), l2=0.5)
    assert step.l2() == pytest.approx(
        0.25 * np.square(model.layers[1].get_weights()[0]).sum(), rel=1e-5
    )


def test_convergence_needs_decided_settled_and_pruned():
    p = {"value": np.array([[0.9, 0.1], [0.1, 0.9]]), "energy": 0.0}
    check = GroupingConverged(
        lambda: [p["value"]], lambda: p["energy"], decided=0.95, hold=2, not_before=3
    )
    assert [check(s) for s in range(4)] == [False] * 4  # not decided
    p["value"] = np.array([[0.01, 0.99], [0.99, 0.01]])
    assert [check(s) for s in (4, 5)] == [False, False]  # groups just changed
    p["energy"] = 0.1
    assert not check(6)  # the cut would take a tenth
    p["energy"] = 0.0
    assert check(7)


def test_patience():
    stop = Patience(2)
    assert [stop(x) for x in (0.1, 0.3, 0.2, 0.3)] == [False, False, False, True]
    assert not any(Patience(0)(x) for x in (0.3, 0.2, 0.1))


@pytest.mark.parametrize(
    "changes", [{"max_steps": 0}, {"steps_per_epoch": 0}, {"patience": -1}, {"display": 1.5}]
)
def test_wrong_options_are_named(changes):
    name = next(iter(changes))
    with pytest.raises(ArgumentError, match=f"`{name}` must be a whole number from [01] to"):
        TrainOptions(**{"max_steps": 5, **changes})
