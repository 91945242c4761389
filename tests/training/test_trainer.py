"""The loop: exact resume, damaged checkpoints, locks, settings, numbers that go bad."""

import json
import os
import signal

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

from splitnet_tf import data
from splitnet_tf.errors import CheckpointError, RunError, TrainingError
from splitnet_tf.training import RunDirectory, Trainer, TrainOptions, evaluate, read_config
from splitnet_tf.training.checkpoints import list_checkpoints


@pytest.fixture(scope="module")
def dataset():
    return data.planted_groups((2,), 2, num_train=120, num_valid=40, num_test=40)


def make_model():
    """Batch norm and dropout: both have state beside the weights."""
    keras.utils.set_random_seed(7)
    inputs = keras.Input((16, 16, 3))
    x = layers.Conv2D(4, 3, strides=2, name="conv")(inputs)
    x = layers.BatchNormalization(name="bn")(x)
    x = layers.ReLU()(x)
    x = layers.Dropout(0.3, seed=3, name="drop")(x)
    x = layers.GlobalAveragePooling2D()(x)
    return keras.Model(inputs, layers.Dense(4, name="logits")(x))


def run_training(folder, dataset, *, steps=24, actions=(), config=None, restart=False, **more):
    run = RunDirectory(folder, config or {"seed": 1}, restart)
    model = make_model()
    options = TrainOptions(
        max_steps=steps, display=3, val_interval=6, checkpoint_interval=5, l2_weight=1e-3
    )
    trainer = Trainer(
        model,
        options,
        run,
        lambda start: data.training_batches(dataset.train, 10, 1, start),
        lambda: data.evaluation_batches(dataset.valid, 20),
        learning_rate=lambda step: 0.1 / (1 + step),
        actions=actions,
        **more,
    )
    try:
        result = trainer.train()
    finally:
        run.close()
    return model, result


def at(step, action):
    return lambda now: action() if now == step else None


def events(folder):
    """(tag, step) of every scalar in the run's TensorBoard files."""
    found = []
    for path in sorted(folder.glob("events.*")):
        for record in tf.compat.v1.train.summary_iterator(str(path)):
            found += [(v.tag, record.step) for v in record.summary.value]
    return sorted(found)


@pytest.fixture(scope="module")
def whole(tmp_path_factory, dataset):
    folder = tmp_path_factory.mktemp("whole")
    model, result = run_training(folder, dataset)
    return folder, [w.numpy() for w in model.variables], result


class Killed(BaseException):
    """As abrupt as a kill for the code under test."""


def kill():
    raise Killed


@pytest.mark.parametrize("step", [1, 7, 14, 20])
def test_a_killed_run_goes_on_bit_for_bit(tmp_path, dataset, whole, step):
    """Promise 6."""
    with pytest.raises(Killed):
        run_training(tmp_path, dataset, actions=[at(step, kill)])
    model, result = run_training(tmp_path, dataset)
    folder, weights, expected = whole
    assert result == expected
    for found, wanted in zip(model.variables, weights, strict=True):
        np.testing.assert_array_equal(found.numpy(), wanted, err_msg=found.path)
    assert (tmp_path / "metrics.jsonl").read_bytes() == (folder / "metrics.jsonl").read_bytes()
    kept = [e for e in events(tmp_path / "tensorboard") if not e[0].startswith("timing")]
    wanted = [e for e in events(folder / "tensorboard") if not e[0].startswith("timing")]
    assert kept == wanted and len(kept) == len(set(kept)) > 50


def test_sigterm_saves_and_exits_with_143(tmp_path, dataset, whole):
    with pytest.raises(SystemExit) as stopped:
        run_training(
            tmp_path, dataset, actions=[at(8, lambda: os.kill(os.getpid(), signal.SIGTERM))]
        )
    assert stopped.value.code == 143
    assert list_checkpoints(tmp_path / "checkpoints", "step")[-1].name.startswith("step-00000009")
    model, _ = run_training(tmp_path, dataset)
    for found, wanted in zip(model.variables, whole[1], strict=True):
        np.testing.assert_array_equal(found.numpy(), wanted)


def test_a_finished_run_is_not_trained_again(whole, dataset):
    folder, weights, expected = whole
    model, result = run_training(folder, dataset, actions=[kill])
    assert result == expected
    np.testing.assert_array_equal(model.variables[0].numpy(), weights[0])


@pytest.mark.parametrize("damage", ["flip", "cut"])
def test_a_damaged_checkpoint_is_named_and_skipped(tmp_path, dataset, whole, damage, caplog):
    with pytest.raises(Killed):
        run_training(tmp_path, dataset, actions=[at(13, kill)])
    newest = list_checkpoints(tmp_path / "checkpoints", "step")[-1]
    content = bytearray(newest.read_bytes())
    if damage == "flip":
        content[len(content) // 2] ^= 1
    newest.write_bytes(content if damage == "flip" else content[:100])
    model, _ = run_training(tmp_path, dataset)
    assert newest.name in caplog.text and "Skipped" in caplog.text
    for found, wanted in zip(model.variables, whole[1], strict=True):
        np.testing.assert_array_equal(found.numpy(), wanted)


def test_when_all_checkpoints_are_damaged_it_says_so(tmp_path, dataset):
    with pytest.raises(Killed):
        run_training(tmp_path, dataset, actions=[at(13, kill)])
    for path in list_checkpoints(tmp_path / "checkpoints", "step"):
        path.write_bytes(b"")
    with pytest.raises(CheckpointError, match="Every checkpoint in .* is damaged.*--restart"):
        run_training(tmp_path, dataset)
    run_training(tmp_path, dataset, steps=3, restart=True)


def test_other_settings_are_refused_with_the_difference(tmp_path, dataset):
    run_training(tmp_path, dataset, steps=3, config={"seed": 1, "batch": 2, "method": "argmax"})
    with pytest.raises(RunError, match=r"other settings \(batch 2 -> 3\).*--restart"):
        RunDirectory(tmp_path, {"seed": 1, "batch": 3, "method": "balanced"})
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(RunError, match="config.json cannot be read"):
        RunDirectory(tmp_path, {})
    with pytest.raises(RunError, match="no config.json"):
        read_config(tmp_path / "nowhere")


def test_a_folder_in_use_is_refused(tmp_path):
    run = RunDirectory(tmp_path, {})
    with pytest.raises(RunError, match="is in use by another run"):
        RunDirectory(tmp_path, {})
    run.close()
    RunDirectory(tmp_path, {}).close()


def test_a_loss_that_is_not_finite_stops_with_step_and_term(tmp_path, dataset):
    with pytest.raises(TrainingError, match="Step [0-9]+: the cross entropy became (nan|inf)"):
        run_training(tmp_path, dataset, actions=[], steps=24, scale=lambda v: 1e30)


def test_metrics_are_json_lines(whole):
    lines = [json.loads(x) for x in (whole[0] / "metrics.jsonl").read_text().splitlines()]
    shown = [x for x in lines if "train/loss" in x]
    assert [x["step"] for x in shown] == list(range(3, 25, 3))
    assert [x["step"] for x in lines if "valid/accuracy" in x] == [6, 12, 18, 24]
    first = shown[0]
    parts = first["train/cross_entropy"] + first["train/split_losses"] + first["train/l2"]
    assert first["train/loss"] == pytest.approx(parts)
    assert not list(whole[0].glob("**/*.tmp"))


def test_evaluation_against_sums_by_hand():
    logits = np.array([[3, 1, 0, 0, 0, 0], [0, 1, 2, 3, 4, 5], [9, 1, 0, 0, 0, 0]], "float32")
    labels = np.array([0, 0, 1])
    found = evaluate(lambda x: x, [(logits[:2], labels[:2]), (logits[2:], labels[2:])])
    assert (found.images, found.top1) == (3, pytest.approx(1 / 3))
    assert found.top5 == pytest.approx(2 / 3)
    p = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    assert found.cross_entropy == pytest.approx(-np.log(p[range(3), labels]).mean(), rel=1e-5)
    assert found.confusion.sum() == 3 and found.confusion[0, 5] == found.confusion[1, 0] == 1
    with pytest.raises(ValueError, match="one batch or more"):
        evaluate(lambda x: x, [])
