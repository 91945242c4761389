"""A phase of training: its rate, its order, its paces, and going on after a stop."""

import dataclasses

import keras
import numpy as np
import pytest
from keras import layers
from scipy.special import softmax

from experiments.fitting import (
    Accuracy,
    PacedSGD,
    Rate,
    TrainingOrder,
    cross_entropy,
    evaluation_data,
    fast_batches,
    fit_phase,
)
from experiments.recipe import Phase
from splitnet_tf.data import planted_groups
from splitnet_tf.errors import DataError, RunError, TrainingError
from tests.conftest import to_numpy


@pytest.fixture(scope="module")
def data():
    return planted_groups((2,), num_train=96, num_valid=32, num_test=32)


def small(seed=0):
    keras.utils.set_random_seed(seed)
    inputs = keras.Input((16, 16, 3))
    x = layers.Conv2D(4, 3, strides=2, activation="relu")(inputs)
    return keras.Model(inputs, layers.Dense(8)(layers.GlobalAveragePooling2D()(x)))


def test_the_rate_falls_as_the_phase_says():
    rate = Rate(Phase(4, 0.1, 0.02), 40)
    found = [float(rate(step)) for step in range(41)]
    expected = [0.02 + 0.08 * (1 + np.cos(np.pi * min(s / 40, 1))) / 2 for s in range(41)]
    np.testing.assert_allclose(found, expected, rtol=1e-5)
    rate = Rate(Phase(4, 0.1, drops=(1, 3)), 40)
    found = [float(rate(step)) for step in (0, 9, 10, 29, 30, 40)]
    np.testing.assert_allclose(found, [0.1, 0.1, 0.01, 0.01, 0.001, 0.001], rtol=1e-5)


def test_a_loss_that_is_not_finite_ends_the_phase_at_once(data, tmp_path):
    model, folder = small(), tmp_path / "finetune"
    with pytest.raises(TrainingError, match="in part 1 of 3 of the phase 'finetune'; lower its"):
        fit_phase(*(model, Phase(3, float("nan")), data.train, data.valid, folder, 0), batch_size=8)


def test_every_epoch_has_every_image_once_in_an_order_of_its_own(data):
    def labels_of(part, parts, seed=5):
        order = TrainingOrder(data.train, 8, seed, 2, parts)
        order.part = part
        return [order[i] for i in range(len(order))]

    whole = labels_of(1, 1)
    assert len(whole) == 12
    seen = np.concatenate([x for x, _ in whole])
    assert {i.tobytes() for i in seen} == {i.tobytes() for i in data.train.images}
    thirds = [batch for part in (3, 4, 5) for batch in labels_of(part, 3)]
    for (x, y), (x3, y3) in zip(whole, thirds, strict=True):
        np.testing.assert_array_equal(x, x3)
        np.testing.assert_array_equal(y, y3)
    assert not np.array_equal(whole[0][0], labels_of(0, 1)[0][0])
    assert not np.array_equal(whole[0][0], labels_of(1, 1, seed=6)[0][0])


def test_fit_sees_the_batches_of_each_part(data):
    order = TrainingOrder(data.train, 8, 5, 2, 3)
    batches = fast_batches(order)
    for order.part in (2, 0, 5):
        expected = [order[i] for i in range(len(order))]
        for (x, y), (images, labels) in zip(expected, batches, strict=True):
            np.testing.assert_array_equal(x, images)
            np.testing.assert_array_equal(y, labels)


@pytest.mark.parametrize(
    ("epochs", "parts", "expected"),
    [(2, 1, 2 * [12]), (0.5, 1, [6]), (2.5, 1, 2 * [15]), (1, 8, 8 * [2]), (0.25, 8, 2 * [2])]
    + [(1, 5, 5 * [2]), (0.1, 8, [1]), (0.01, 1, [1])],
)
def test_a_phase_need_not_be_whole_epochs(data, epochs, parts, expected):
    order = TrainingOrder(data.train, 8, 0, epochs, parts)  # 12 batches an epoch
    assert order.steps == sum(expected) and abs(order.steps - 12 * epochs) <= max(1, len(expected))
    whole = TrainingOrder(data.train, 8, 0, 3)
    all_labels = []
    for whole.part in range(3):
        all_labels += [whole[i][1] for i in range(len(whole))]
    found = []
    for order.part, length in enumerate(expected):
        assert len(order) == length
        found += [order[i][1] for i in range(length)]
    assert order.part + 1 == order.num_parts
    np.testing.assert_array_equal(found, all_labels[: len(found)])


def test_paces_multiply_gradients():
    one, other, fixed = (keras.Variable(np.ones(3)) for _ in range(3))
    optimizer = PacedSGD(0.1, momentum=0.9, paces={id(other): 5.0, id(fixed): 0.0})
    for _ in range(3):
        gradient = keras.ops.convert_to_tensor(np.full(3, 0.2, "float32"))
        optimizer.apply([gradient] * 3, [one, other, fixed])
    plain = 1 - to_numpy(one.value)
    velocity, expected = 0.0, 0.0
    for _ in range(3):
        velocity = 0.9 * velocity - 0.1 * 0.2
        expected -= velocity
    np.testing.assert_allclose(plain, expected, rtol=1e-5)
    np.testing.assert_allclose(1 - to_numpy(other.value), 5 * plain, rtol=1e-5)
    np.testing.assert_array_equal(to_numpy(fixed.value), 1)


def test_l2_is_half_the_squared_kernels(data, tmp_path):
    """Images of one colour whiten to nothing, so only L2 moves the first kernel."""
    flat = dataclasses.replace(data.train, images=np.full_like(data.train.images, 9))
    model = small()
    start = to_numpy(model.layers[1].kernel).copy()
    phase = Phase(1, 0.1, 0.1, l2=0.01)
    fit_phase(model, phase, flat, data.valid, tmp_path, 0, batch_size=96)
    # One step with Nesterov: kernel - rate * (1 + 0.9) * l2 * kernel.
    np.testing.assert_allclose(
        to_numpy(model.layers[1].kernel), start * (1 - 0.1 * 1.9 * 0.01), rtol=1e-4, atol=1e-7
    )


def test_labels_are_smoothed_over_all_classes():
    logits = np.random.default_rng(0).normal(size=(6, 5)).astype("float32")
    labels = np.array([0, 4, 2, 2, 1, 3])
    targets = np.full((6, 5), 0.2 / 5)
    targets[np.arange(6), labels] += 0.8
    expected = -(targets * np.log(softmax(logits, axis=1))).sum(1)
    found = to_numpy(cross_entropy(5, 0.2)(labels, keras.ops.convert_to_tensor(logits)))
    np.testing.assert_allclose(found, expected, rtol=1e-5)


@pytest.mark.parametrize("ema", [0.0, 0.9])
def test_a_stopped_phase_goes_on_to_the_bit(data, tmp_path, monkeypatch, ema):
    monkeypatch.setattr("experiments.resuming.SECONDS", 0.0)
    phase, done = Phase(4, 0.05, ema=ema), []

    def stopping(share):
        if share == 2 / 3:
            raise KeyboardInterrupt

    def train(model, folder, before):
        fit_phase(
            *(model, phase, data.train, data.valid, folder, 0), batch_size=32, before_part=before
        )

    whole = small()
    train(whole, tmp_path / "whole", lambda share: None)
    cut = small()
    with pytest.raises(KeyboardInterrupt):
        train(cut, tmp_path / "cut", stopping)
    with open(tmp_path / "cut" / "log.csv", "a") as log:
        log.write("2,0.5,2.0,0.5,2.0\n3,0.")  # of a part whose end was not written down
    again = small(seed=1)
    train(again, tmp_path / "cut", done.append)
    assert done == [2 / 3, 1]
    paths = [tmp_path / name / "log.csv" for name in ("whole", "cut")]
    logs = [np.genfromtxt(p, delimiter=",", names=True) for p in paths]
    np.testing.assert_array_equal(logs[1]["epoch"], range(4))
    np.testing.assert_allclose(logs[1]["loss"], logs[0]["loss"], rtol=1e-6)
    # Stopped once more, after its last part: nothing is left to train.
    over = small(seed=2)
    train(over, tmp_path / "cut", done.append)
    assert done == [2 / 3, 1]
    for model in (again, over):
        for one, other in zip(whole.weights, model.weights, strict=True):
            np.testing.assert_array_equal(to_numpy(one), to_numpy(other), err_msg=one.path)


def test_progress_is_written_now_and_then_and_at_the_end(data, tmp_path, monkeypatch):
    path, seen = tmp_path / "progress.npz", []

    def see(share):
        if path.exists():
            with np.load(path) as found:
                seen.append(int(found["parts"]))

    ends = iter([20, 70, 100, 110])  # of the parts, in seconds
    now = [0]
    monkeypatch.setattr("experiments.resuming.now", lambda: now[0])
    fit_phase(
        *(small(), Phase(2, 0.1), data.train, data.valid, tmp_path, 0),
        batch_size=48,
        parts=2,
        before_part=lambda share: (see(share), now.__setitem__(0, next(ends))),
    )
    see(1)
    assert seen == [2, 2, 4]  # not after the first part, nor after the third


def test_progress_of_another_network_is_refused(data, tmp_path):
    phase = Phase(1, 0.1)
    fit_phase(*(small(), phase, data.train, data.valid, tmp_path, 0), batch_size=48)
    other = keras.Sequential([keras.Input((16, 16, 3)), layers.Flatten(), layers.Dense(8)])
    with pytest.raises(RunError, match="progress.npz is not of this network"):
        fit_phase(*(other, phase, data.train, data.valid, tmp_path, 0), batch_size=48)


@pytest.mark.parametrize("content", [b"", b"no archive", "cut"])
def test_damaged_progress_is_named_and_the_phase_begins_anew(data, tmp_path, caplog, content):
    phase, whole, again = Phase(1, 0.1), small(), small()
    fit_phase(*(whole, phase, data.train, data.valid, tmp_path, 0), batch_size=48)
    path = tmp_path / "progress.npz"
    path.write_bytes(path.read_bytes()[:-200] if content == "cut" else content)
    (tmp_path / "log.csv").write_text("epoch,loss\nx,1\n")
    fit_phase(*(again, phase, data.train, data.valid, tmp_path, 0), batch_size=48)
    assert "progress.npz is damaged" in caplog.text
    for one, other in zip(whole.weights, again.weights, strict=True):
        np.testing.assert_array_equal(to_numpy(one), to_numpy(other), err_msg=one.path)


def test_bfloat16_trains_weights_in_float32(data, tmp_path):
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        model = small()
    finally:
        keras.config.set_dtype_policy("float32")
    start = to_numpy(model.layers[1].kernel).copy()
    fit_phase(*(model, Phase(1, 0.05), data.train, data.valid, tmp_path, 0), batch_size=48)
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


def test_averaged_weights_are_the_average(data, tmp_path):
    """First the weights of the first step, then a tenth of every later step's."""

    def train(ema, folder):
        model, seen = small(), []

        def see(share):
            seen.append(to_numpy(model.layers[1].kernel))

        fit_phase(
            *(model, Phase(1, 0.05, ema=ema), data.train, data.valid, folder, 0),
            batch_size=32,
            parts=3,
            before_part=see,
        )
        return [*seen[1:], to_numpy(model.layers[1].kernel)]

    (*_, found), (one, two, three) = train(0.9, tmp_path / "a"), train(0.0, tmp_path / "b")
    expected = 0.9 * (0.9 * one + 0.1 * two) + 0.1 * three
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-6)
    assert np.abs(found - three).max() > 1e-4


def test_fewer_images_than_a_batch_are_an_error(data, tmp_path):
    with pytest.raises(DataError, match="There are 96 training images; a batch has 128"):
        fit_phase(*(small(), Phase(1, 0.1), data.train, data.valid, tmp_path, 0), batch_size=128)


def test_accuracy_is_counted(data):
    model = small()
    images = data.test.images.astype("float64")
    mean, std = images.mean((1, 2), keepdims=True), images.std((1, 2), keepdims=True)
    logits = to_numpy(model(((images - mean) / std).astype("float32")))
    expected = np.mean(logits.argmax(1) == data.test.labels)
    assert Accuracy(model)(data.test) == pytest.approx(expected)
