"""A phase of training through ``fit``: its order, its loss, and going on after a stop."""

import dataclasses

import keras
import numpy as np
import pytest
from keras import layers

from splitnet_tf.data import planted_groups
from splitnet_tf.errors import ArgumentError, DataError, RunError, TrainingError
from splitnet_tf.fitting import Accuracy, calibration_batches, fit_phase
from splitnet_tf.fitting.batches import TrainingOrder, evaluation_data, fast_batches
from splitnet_tf.fitting.fit_phase import PROGRESS
from splitnet_tf.fitting.resuming import Progress
from splitnet_tf.fitting.taught import beside_teacher
from splitnet_tf.recipe import Phase, Rate, optimizer_for
from splitnet_tf.recipe.distillation import TaughtCrossEntropy, with_answers
from splitnet_tf.recipe.preprocessing import WHITEN
from tests.conftest import to_numpy
from tests.preprocessed import whitened


@pytest.fixture(scope="module")
def data():
    return planted_groups((2,), num_train=96, num_valid=32, num_test=32)


def small(seed=0):
    keras.utils.set_random_seed(seed)
    inputs = keras.Input((16, 16, 3))
    x = layers.Conv2D(4, 3, strides=2, activation="relu")(inputs)
    return keras.Model(inputs, layers.Dense(8)(layers.GlobalAveragePooling2D()(x)))


def train(model, data, folder, phase, batch_size=32, callbacks=()):
    fit_phase(
        *(model, phase, data.train, data.valid, folder, 0),
        batch_size=batch_size,
        preprocessing=WHITEN,
        callbacks=callbacks,
    )


def assert_same(one, other):
    for a, b in zip(one.weights, other.weights, strict=True):
        np.testing.assert_array_equal(to_numpy(a), to_numpy(b), err_msg=a.path)


def test_a_loss_that_is_not_finite_ends_the_phase_at_once(data, tmp_path):
    model = small()
    model.layers[-1].bias.assign(np.full(8, np.nan))
    with pytest.raises(TrainingError, match="in epoch 1 of 3 of the phase 'finetune'; lower its"):
        train(model, data, tmp_path / "finetune", Phase(3, 0.1))


def test_answers_that_are_not_finite_are_no_accuracy(data, tmp_path):
    """Batch norms train by their batches; only evaluation reads the moving averages."""
    inputs = keras.Input((16, 16, 3))
    norm = layers.BatchNormalization()
    x = layers.GlobalAveragePooling2D()(norm(layers.Conv2D(4, 3)(inputs)))
    model = keras.Model(inputs, layers.Dense(8)(x), name="damaged")
    norm.moving_variance.assign(np.full(4, np.nan))
    with pytest.raises(TrainingError, match="The answers of 'damaged' are not finite"):
        Accuracy(model, WHITEN)(data.test)
    with pytest.raises(TrainingError, match="The val_loss is nan in epoch 1 of 3"):
        train(model, data, tmp_path / "finetune", Phase(3, 0.1))


def batches_of(split, fit_epoch, seed=5, epochs=2):
    order = TrainingOrder(split, 8, seed, epochs)
    order.fit_epoch = fit_epoch
    return [order[i] for i in range(len(order))]


def test_every_epoch_has_every_image_once_in_an_order_of_its_own(data):
    one = batches_of(data.train, 1)
    assert len(one) == 12
    seen = np.concatenate([x for x, _ in one])
    assert {i.tobytes() for i in seen} == {i.tobytes() for i in data.train.images}
    assert not np.array_equal(one[0][0], batches_of(data.train, 0)[0][0])
    assert not np.array_equal(one[0][0], batches_of(data.train, 1, seed=6)[0][0])


def test_fit_sees_the_batches_of_each_epoch(data):
    order = TrainingOrder(data.train, 8, 5, 2.5)
    batches = fast_batches(order)
    for order.fit_epoch in (1, 0):
        expected = batches_of(data.train, order.fit_epoch, epochs=2.5)
        for (x, y), (images, labels) in zip(expected, batches, strict=True):
            np.testing.assert_array_equal(x, images)
            np.testing.assert_array_equal(y, labels)


@pytest.mark.parametrize(
    ("epochs", "expected"),
    [(2, [12, 12]), (0.5, [6]), (2.5, [15, 15]), (1.5, [9, 9]), (0.01, [1])],
)
def test_a_phase_need_not_be_whole_epochs(data, epochs, expected):
    order = TrainingOrder(data.train, 8, 5, epochs)  # 12 batches an epoch
    assert order.steps == sum(expected) and order.fit_epochs == len(expected)
    found = [b for e in range(len(expected)) for b in batches_of(data.train, e, epochs=epochs)]
    whole = [b for e in range(3) for b in batches_of(data.train, e, epochs=3)]
    for (_, y), (_, labels) in zip(found, whole, strict=False):
        np.testing.assert_array_equal(y, labels)
    assert len(found) == order.steps


def test_batches_to_estimate_on_are_whitened_and_seeded(data):
    found = [
        to_numpy(x) for x in calibration_batches(data.train, 40, 2, seed=1, preprocessing=WHITEN)
    ]
    assert [len(x) for x in found] == [40, 40]
    assert [len(x) for x in calibration_batches(data.train, 40, 9, preprocessing=WHITEN)] == [
        40,
        40,
        16,
    ]
    chosen = np.random.default_rng([1, 37]).permutation(96)[:80]  # as runs of the past have it
    expected = whitened(data.train.images[chosen])
    np.testing.assert_allclose(np.concatenate(found), expected, atol=1e-4)


def test_l2_is_half_the_squared_kernels(data, tmp_path):
    """Images of one colour whiten to nothing, so only L2 moves the first kernel."""
    flat = dataclasses.replace(data.train, images=np.full_like(data.train.images, 9))
    model = small()
    kernel = model.layers[1].kernel
    kernel.regularizer = own = keras.regularizers.L2(0.02)
    start = to_numpy(kernel).copy()
    phase = Phase(1, 0.1, 0.1, l2=0.01)
    train(model, dataclasses.replace(data, train=flat), tmp_path, phase, batch_size=96)
    # One step with Nesterov: kernel - rate * (1 + 0.9) * (l2 + 2 * its own) * kernel.
    expected = start * (1 - 0.1 * 1.9 * (0.01 + 0.04))
    np.testing.assert_allclose(to_numpy(kernel), expected, rtol=1e-4, atol=1e-7)
    assert kernel.regularizer is own  # L2 of the phase is not left behind


class StopBefore(keras.callbacks.Callback):
    """Notes the epochs that begin, and interrupts one of them."""

    def __init__(self, epoch=None):
        super().__init__()
        self.epoch, self.begun = epoch, []

    def on_epoch_begin(self, epoch, logs=None):
        if epoch == self.epoch:
            raise KeyboardInterrupt
        self.begun.append(epoch)


@pytest.mark.parametrize("ema", [0.0, 0.9])
def test_a_stopped_phase_goes_on_to_the_bit(data, tmp_path, ema):
    phase, folder = Phase(4, 0.05, ema=ema), tmp_path / "cut"
    folder.mkdir()
    whole, stopped, again, over = small(), small(), small(seed=1), small(seed=2)
    train(whole, data, tmp_path / "whole", phase)
    always = Progress(folder / PROGRESS, 4, seconds=0.0)
    with pytest.raises(KeyboardInterrupt):
        train(stopped, data, folder, phase, callbacks=[always, StopBefore(2)])
    with open(folder / "log.csv", "a") as log:
        log.write("2,0.5,2.0,0.5,2.0\n3,0.")  # of an epoch whose end was not written down
    seen = StopBefore()
    train(again, data, folder, phase, callbacks=[seen])
    assert seen.begun == [2, 3]
    paths = [tmp_path / name / "log.csv" for name in ("whole", "cut")]
    logs = [np.genfromtxt(p, delimiter=",", names=True) for p in paths]
    np.testing.assert_array_equal(logs[1]["epoch"], range(4))
    np.testing.assert_allclose(logs[1]["loss"], logs[0]["loss"], rtol=1e-6)
    assert_same(whole, again)
    # Stopped once more, after its last epoch: nothing is left to train.
    train(over, data, folder, phase, callbacks=[seen])
    assert seen.begun == [2, 3]
    assert_same(whole, over)


def test_progress_is_written_now_and_then_and_at_the_end(tmp_path):
    model, path, seen = small(), tmp_path / "progress.npz", []
    model.compile("sgd", "mse")
    model.optimizer.build(model.trainable_variables)
    times = iter([0, 20, 70, 70, 100, 110, 110])  # at the start, then at the end of each epoch
    progress = Progress(path, 4, seconds=60, now=lambda: next(times))
    progress.set_model(model)
    for epoch in range(4):
        progress.on_epoch_end(epoch)
        if path.exists():
            with np.load(path) as found:
                seen.append(int(found["epochs"]))
    assert seen == [2, 2, 4]  # not after the first epoch, nor after the third


def test_progress_of_another_network_is_refused(data, tmp_path):
    train(small(), data, tmp_path, Phase(1, 0.1))
    other = keras.Sequential([keras.Input((16, 16, 3)), layers.Flatten(), layers.Dense(8)])
    with pytest.raises(RunError, match="progress.npz belongs to another network"):
        train(other, data, tmp_path, Phase(1, 0.1))


@pytest.mark.parametrize("content", [b"", b"no archive", "cut"])
def test_damaged_progress_is_named_and_the_phase_begins_anew(data, tmp_path, caplog, content):
    whole, again = small(), small()
    train(whole, data, tmp_path, Phase(1, 0.1))
    path = tmp_path / "progress.npz"
    path.write_bytes(path.read_bytes()[:-200] if content == "cut" else content)
    (tmp_path / "log.csv").write_text("epoch,loss\nx,1\n")
    train(again, data, tmp_path, Phase(1, 0.1))
    assert "progress.npz is damaged" in caplog.text
    assert_same(whole, again)


def test_bfloat16_trains_weights_in_float32(data, tmp_path):
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        model = small()
    finally:
        keras.config.set_dtype_policy("float32")
    start = to_numpy(model.layers[1].kernel).copy()
    train(model, data, tmp_path, Phase(1, 0.05))
    assert model.layers[1].compute_dtype == "bfloat16" and model.layers[1].dtype == "float32"
    moved = to_numpy(model.layers[1].kernel) - start
    assert np.isfinite(moved).all() and np.abs(moved).max() > 0


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="tf.data is TensorFlow's")
def test_no_data_set_is_autotuned(data):
    """An iterator of one that is makes its process wait at the end of every part."""
    order = TrainingOrder(data.train, 32, seed=0, epochs=1.0)
    for batches in (fast_batches(order), evaluation_data(data.valid)["x"]):
        assert batches.options().autotune.enabled is False
    images, labels = next(iter(evaluation_data(data.valid)["x"]))
    np.testing.assert_array_equal(images, data.valid.images)
    np.testing.assert_array_equal(labels, data.valid.labels)


class Weights(keras.callbacks.Callback):
    """The first kernel after each step."""

    def __init__(self, kernel):
        super().__init__()
        self.kernel, self.seen = kernel, []

    def on_train_batch_end(self, batch, logs=None):
        if keras.backend.backend() == "jax":
            self.model.jax_state_sync()
        self.seen.append(to_numpy(self.kernel).copy())


def test_averaged_weights_are_the_average(data, tmp_path):
    """First the weights of the first step, then a tenth of every later step's."""
    averaged, plain = small(), small()
    train(averaged, data, tmp_path / "a", Phase(1, 0.05, ema=0.9))
    steps = Weights(plain.layers[1].kernel)
    train(plain, data, tmp_path / "b", Phase(1, 0.05), callbacks=[steps])
    one, two, three = steps.seen
    expected = 2 / 11 * one + 9 / 11 * two
    expected = 3 / 12 * expected + 9 / 12 * three
    found = to_numpy(averaged.layers[1].kernel)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-6)
    assert np.abs(found - three).max() > 1e-4


def test_fewer_images_than_a_batch_are_an_error(data, tmp_path):
    with pytest.raises(DataError, match="There are 96 training images; a batch has 128"):
        train(small(), data, tmp_path, Phase(1, 0.1), batch_size=128)


def test_accuracy_is_counted(data):
    model = small()
    logits = to_numpy(model(whitened(data.test.images)))
    expected = np.mean(logits.argmax(1) == data.test.labels)
    assert Accuracy(model, WHITEN)(data.test) == pytest.approx(expected)


def test_a_teacher_answers_what_the_network_sees(data, tmp_path):
    """The steps are those of ``TaughtCrossEntropy`` on answers that were computed before."""
    teacher, phase = small(3), Phase(2, 0.1, l2=0.0)
    before = [to_numpy(w) for w in teacher.weights]
    teaching = TaughtCrossEntropy(0.7, 2.0)
    found, expected = small(), small()
    fit_phase(
        *(found, phase, data.train, data.valid, tmp_path, 5),
        **{"batch_size": 32, "preprocessing": WHITEN, "augment": "none"},
        **{"teacher": teacher, "teaching": teaching},
    )
    rate = Rate(phase, 3, 6)
    expected.compile(optimizer_for(phase, {}, learning_rate=rate), teaching)
    order = TrainingOrder(data.train, 32, 5, 2)
    for order.fit_epoch in range(2):
        for i in range(3):
            images, labels = order[i]
            x = whitened(images)
            answers = with_answers(labels, to_numpy(teacher(x, training=False)))
            expected.train_on_batch(x, to_numpy(answers))
    for one, other in zip(found.weights, expected.weights, strict=True):
        np.testing.assert_allclose(to_numpy(one), to_numpy(other), atol=1e-5)
    for one, other in zip(before, teacher.weights, strict=True):
        np.testing.assert_array_equal(one, to_numpy(other))
    other = keras.Sequential([keras.Input((16, 16, 3)), layers.Flatten(), layers.Dense(3)])
    with pytest.raises(ArgumentError, match="give a teacher of the same images and classes"):
        beside_teacher(found, other)


def test_a_loss_on_groups_needs_no_teacher(data, tmp_path):
    """Before the first step's weights change, it is that of NumPy."""
    model, groups = small(), np.arange(8) % 2
    logits = to_numpy(model(whitened(data.train.images)))
    shares = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    labels = data.train.labels
    inside = (shares * (groups[None] == groups[labels][:, None])).sum(1)
    own = shares[np.arange(len(labels)), labels]
    expected = np.mean(-np.log(own) - 0.5 * np.log(inside))
    fit_phase(
        *(model, Phase(1, 1e-9, l2=0.0), data.train, data.valid, tmp_path, 0),
        **{"batch_size": 32, "preprocessing": WHITEN, "augment": "none"},
        teaching=TaughtCrossEntropy(groups=groups, group_weight=0.5),
    )
    found = np.loadtxt(tmp_path / "log.csv", delimiter=",", skiprows=1)
    assert found[2] == pytest.approx(expected, rel=1e-5)
