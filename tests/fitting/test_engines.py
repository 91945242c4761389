"""Steps of the training loop and of ``fit`` are the same steps."""

import keras
import numpy as np
import pytest

import splitnet_tf as sn
from splitnet_tf.fitting.fit_phase import compiled
from splitnet_tf.grouping import split_losses
from splitnet_tf.grouping.schedule import strength_at
from splitnet_tf.recipe import CrossEntropy, Rate, optimizer_for, rate_of
from tests.conftest import to_numpy
from tests.fit_once import residual_network

pytestmark = pytest.mark.skipif(
    keras.backend.backend() != "tensorflow", reason="the loop is TensorFlow's"
)
STEPS, BATCH = 5, 16


class Weights(keras.callbacks.Callback):
    """All weights after each step."""

    def __init__(self):
        super().__init__()
        self.seen = []

    def on_train_batch_end(self, batch, logs=None):
        self.seen.append([to_numpy(w) for w in self.model.weights])


def grouped_model():
    """Residual network with a stride and batch norms, whose assignments are decided."""
    keras.utils.set_random_seed(0)
    grouped = sn.group_model(residual_network(), [("conv_1", 2), ("logits", 2)], seed=0)
    sn.start_from_clusters(grouped)
    return grouped


@pytest.mark.parametrize(
    "more",
    [
        {},
        {"schedule": "step", "drops": (0.5,), "nesterov": False},
        {"optimizer": "adamw", "rate": 0.001, "final_rate": 0.0},
    ],
    ids=["sgd", "steps", "adamw"],
)
def test_the_loop_and_fit_take_the_same_steps(more):
    from splitnet_tf.training import TrainStep

    recipe = sn.GroupingRecipe(1.0, warmup_epochs=0.0, l2=1e-3, label_smoothing=0.1, **more)
    rng = np.random.default_rng(0)
    x = rng.normal(size=(STEPS * BATCH, 8, 8, 3)).astype("float32")
    y = rng.integers(0, 10, len(x)).astype("int32")

    loop = grouped_model()
    losses, rate = split_losses(loop), rate_of(recipe, STEPS, STEPS)
    optimizer = optimizer_for(recipe, sn.paces(loop, recipe.pace))
    step = TrainStep(loop, CrossEntropy(0.1), optimizer, l2=recipe.l2)
    found = []
    for i in range(STEPS):
        losses.strength.assign(strength_at(i, 0, 3, recipe.gamma1_growth))
        batch = slice(i * BATCH, (i + 1) * BATCH)
        step(x[batch], y[batch], rate(i))
        found.append([to_numpy(w) for w in loop.weights])

    other, weights = grouped_model(), Weights()
    start = [to_numpy(w) for w in other.weights]
    with compiled(other, recipe, Rate(recipe, STEPS, STEPS), sn.paces(other, recipe.pace)):
        schedule = sn.GroupingSchedule(0, recipe.gamma1_growth, start="random")
        callbacks = [schedule, weights]
        other.fit(x, y, batch_size=BATCH, shuffle=False, verbose=0, callbacks=callbacks)

    assert float(found[-1][[w.name for w in loop.weights].index("strength")][0]) == 20
    for after, tolerance in ((0, 1e-6), (STEPS - 1, 1e-5)):
        for weight, a, b in zip(loop.weights, found[after], weights.seen[after], strict=True):
            np.testing.assert_allclose(a, b, rtol=0, atol=tolerance, err_msg=weight.path)
    for weight, a, b in zip(loop.weights, start, found[-1], strict=True):
        assert not weight.trainable or np.abs(a - b).max() > 1e-4, weight.path
