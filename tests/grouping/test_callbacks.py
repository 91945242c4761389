"""Groups learned by ``compile`` and ``fit`` with the two callbacks, on any backend."""

import logging

import keras
import numpy as np
import pytest

import splitnet_tf as sn
from splitnet_tf.errors import ArgumentError
from splitnet_tf.grouping import read_grouping, split_losses
from splitnet_tf.grouping.schedule import strength_at
from splitnet_tf.recipe import SGD, CrossEntropy
from tests.conftest import to_numpy

PLANTED = np.array([0, 1, 1, 0, 1, 0, 0, 1])
STEPS, EPOCHS = 8, 7


@pytest.fixture(scope="module")
def data():
    """Vectors of eight classes, whose centres lie around those of the two groups."""
    rng = np.random.default_rng(0)
    centres = rng.normal(size=(2, 24))[PLANTED] + 0.5 * rng.normal(size=(8, 24))
    labels = np.arange(32 * STEPS) % 8
    points = centres[labels] + 0.5 * rng.normal(size=(len(labels), 24))
    return points.astype("float32"), labels.astype("int32")


def grouped_model():
    keras.utils.set_random_seed(3)
    plain = sn.models.mlp((32, 32), 8, (24,))
    kernel = plain.get_layer("logits").kernel
    kernel.assign(0.0 * kernel)  # so few steps would leave much of a random start in it
    return sn.group_model(plain, [("fc2", 2), ("logits", 2)], seed=0)


def fit(grouped, data, *callbacks, epochs=EPOCHS, **more):
    optimizer = SGD(0.05, momentum=0.9, paces=sn.paces(grouped, 8))
    grouped.compile(optimizer, CrossEntropy(), metrics=["accuracy"])
    more = {"batch_size": 32, "verbose": 0, **more}
    return grouped.fit(*data, epochs=epochs, callbacks=list(callbacks), **more).history


class Strengths(keras.callbacks.Callback):
    """The strength that each step computes with."""

    def __init__(self):
        super().__init__()
        self.seen = []

    def on_train_batch_end(self, batch, logs=None):
        if keras.backend.backend() == "jax":
            self.model.jax_state_sync()
        self.seen.append(tuple(to_numpy(split_losses(self.model).strength)))


def test_fit_finds_the_planted_groups(data, caplog):
    grouped, strengths = grouped_model(), Strengths()
    monitor = sn.GroupingMonitor([f"class{c}" for c in range(8)])
    caplog.set_level(logging.INFO)
    history = fit(grouped, data, sn.GroupingSchedule(2, 20.0), monitor, strengths)
    labels = read_grouping(grouped).classes.labels()
    assert set(zip(PLANTED, labels, strict=True)) in ({(0, 0), (1, 1)}, {(0, 1), (1, 0)})
    ones = ", ".join(f"class{c}" for c in range(8) if PLANTED[c] == PLANTED[0])
    assert f"group {labels[0]} (4 classes): {ones}" in caplog.text
    # Three fifths of the five epochs after the warm-up.
    expected = [strength_at(step, 2 * STEPS, 5 * STEPS, 20.0) for step in range(EPOCHS * STEPS)]
    np.testing.assert_allclose(strengths.seen, expected, rtol=1e-6)
    assert history["accuracy"][-1] > 0.9
    off_block = history["split/off_block_energy"]
    assert off_block[1] > 0.4 and off_block[-1] < 0.05
    assert history["group_size/logits/0"][-1] == 4
    assert {"split/group_weight", "split/disjointness", "split/balance"} <= set(history)
    assert all(len(values) == EPOCHS for values in history.values())


def test_losses_by_name_in_the_history(data):
    """The metric is the task's loss to the last digit, and the rest is the split losses."""
    grouped, (x, y) = grouped_model(), data
    held_out = (x[:70], y[:70])
    task = CrossEntropy(reduction=None, name="task_loss")
    grouped.compile(SGD(0.01), CrossEntropy(), metrics=["accuracy", task])
    more = {"validation_data": held_out, "batch_size": 32, "verbose": 0}
    history = grouped.fit(x, y, callbacks=[sn.GroupingMonitor()], **more).history
    wanted = float(CrossEntropy()(held_out[1], grouped(held_out[0])))
    assert history["val_task_loss"][0] == pytest.approx(wanted, rel=1e-5)
    split = sum(float(v) for v in grouped.losses)
    assert history["val_loss"][0] == pytest.approx(wanted + split, rel=1e-4)
    assert history["loss"][0] > history["task_loss"][0]
    terms = split_losses(grouped).terms()
    assert {name: history[f"split/{name}"][0] for name in terms} == pytest.approx(
        {name: float(value) for name, value in terms.items()}
    )


def test_decided_equal_groups_cost_nothing(data):
    """The validation loss is that of the task, so that it may end the training."""
    grouped, x = grouped_model(), data[0]
    for assignment in split_losses(grouped).assignments():
        even = np.arange(assignment.size) * 2 // assignment.size
        assignment.logits.assign(100.0 * np.eye(2)[:, even])
    for name, mask in sn.splitting.block_masks(sn.plan_of(grouped), read_grouping(grouped)):
        kernel = grouped.get_layer(name).kernel
        kernel.assign(to_numpy(kernel) * mask)
    grouped(x[:2])
    assert sum(float(v) for v in grouped.losses) == pytest.approx(0, abs=1e-4)


def test_gammas_set_between_two_fits_act(data):
    grouped, (x, y) = grouped_model(), data
    losses = split_losses(grouped)
    grouped.compile(SGD(0.0), CrossEntropy())
    before = grouped.evaluate(x, y, verbose=0)
    r_w = float(losses.terms()["group_weight"])
    losses.gamma1 = 20
    assert grouped.evaluate(x, y, verbose=0) == pytest.approx(before + 19 * r_w, rel=1e-4)
    assert losses.gamma1 == losses.get_config()["gamma1"] == 20
    with pytest.raises(ArgumentError, match="`gamma3` must be a number of 0 or more; got -1"):
        losses.gamma3 = -1
    assert losses.gamma3 == 10


def test_gammas_are_those_that_act_when_weights_are_put_back():
    losses, other = (sn.grouping.SplitLosses(gamma1=g) for g in (5.0, 1.0))
    for layer in (losses, other):
        layer.build()
    store = {}
    other.strength.assign([0.0, 1.0, 1.0])
    other.save_own_variables(store)
    losses.load_own_variables(store)  # as load_weights does: settings are no weights
    assert losses.gamma1 == 5 and to_numpy(losses.gammas)[0] == 5
    np.testing.assert_array_equal(to_numpy(losses.strength), [0, 1, 1])
    losses.set_weights(other.get_weights())  # as EarlyStopping does
    assert losses.gamma1 == losses.get_config()["gamma1"] == to_numpy(losses.gammas)[0] == 1
    losses.gamma2 = 0.1
    assert (losses.gamma1, losses.gamma2) == (1, 0.1)


def test_gammas_of_files_of_the_first_version():
    losses = sn.grouping.SplitLosses(gamma2=3.0)
    losses.build()
    losses.load_own_variables({"0": np.array([1.0, 2.0, 3.0])})
    np.testing.assert_array_equal(to_numpy(losses.strength), [1, 2, 3])
    np.testing.assert_array_equal(to_numpy(losses.gammas), [1, 3, 10])


def test_training_that_goes_on_does_not_start_anew(data):
    grouped = grouped_model()
    fit(grouped, data, sn.GroupingSchedule(1), epochs=3)
    logits = split_losses(grouped).assignments()[-1].logits
    logits.assign(-1.0 * logits)  # other groups than a clustering would give
    before = to_numpy(logits).argmax(axis=0)
    strengths = Strengths()
    fit(grouped, data, sn.GroupingSchedule(1), strengths, epochs=4, initial_epoch=3)
    np.testing.assert_array_equal(to_numpy(logits).argmax(axis=0), before)
    assert len(strengths.seen) == STEPS and strengths.seen[0][0] == pytest.approx(20)


def test_a_model_within_another_is_scheduled(data):
    grouped = grouped_model()
    inputs = keras.Input((24,))
    outer = keras.Model(inputs, grouped(keras.layers.Rescaling(0.5)(inputs)))
    outer.compile(SGD(0.01), CrossEntropy())
    callbacks = [
        sn.GroupingSchedule(0, 5.0, 0.0, grouped=grouped),
        sn.GroupingMonitor(grouped=grouped),
    ]
    history = outer.fit(*data, epochs=1, callbacks=callbacks, verbose=0).history
    np.testing.assert_allclose(to_numpy(split_losses(grouped).strength), [5, 1, 1])
    assert "split/decided" in history


def test_faults_are_told_once_the_losses_are_on(data, caplog):
    grouped = grouped_model()
    for assignment in split_losses(grouped).assignments():
        assignment.assign(np.zeros(assignment.size, int), 0.9)
    schedule = sn.GroupingSchedule(1, start="random")
    fit(grouped, data, schedule, sn.GroupingMonitor(), epochs=2)
    told = [r.message for r in caplog.records if "raise `gamma3`" in r.message]
    assert told and all(m.startswith("epoch 2: Group 1 of ") for m in told)


WRONG = [
    ({"start": "luck"}, "`start` must be one of clustering, exchange, random; got 'luck'"),
    ({"growth": 0.5}, "`growth` must be 1 or more; got 0.5"),
    ({"warmup_epochs": -1}, "`warmup_epochs` must be a number of 0 or more; got -1"),
    ({"growth_share": 1.5}, "`growth_share` must be a number from 0 to 1; got 1.5"),
]


@pytest.mark.parametrize(("arguments", "sentence"), WRONG)
def test_wrong_arguments_are_named(arguments, sentence):
    with pytest.raises(ArgumentError, match=sentence):
        sn.GroupingSchedule(**arguments)


def test_a_warm_up_without_end_and_data_without_length_are_refused(data):
    with pytest.raises(ArgumentError, match="`warmup_epochs=5` leaves no step of 16 to group in"):
        fit(grouped_model(), data, sn.GroupingSchedule(), epochs=2)

    def batches():
        while True:
            yield data[0][:32], data[1][:32]

    grouped = grouped_model()
    grouped.compile(SGD(0.01), CrossEntropy())
    with pytest.raises(ArgumentError, match="must know the steps of an epoch"):
        grouped.fit(batches(), callbacks=[sn.GroupingSchedule(0)], verbose=0)
