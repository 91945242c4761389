"""The loop: exact resume, signals, threads."""

import json
import os
import shutil
import signal
import threading

import numpy as np
import pytest

from splitnet_tf import data
from splitnet_tf.errors import DataError
from splitnet_tf.recipe.preprocessing import WHITEN
from splitnet_tf.runs import RunDirectory
from splitnet_tf.runs.checkpoints import list_checkpoints
from splitnet_tf.training import Trainer, TrainOptions
from tests.training.small_run import (
    Histogram,
    Killed,
    at,
    events,
    kill,
    make_model,
    make_step,
    run_training,
)


@pytest.mark.parametrize("step", [1, 7, 14, 20])
def test_a_killed_run_goes_on_bit_for_bit(tmp_path, dataset, whole, step):
    """Promise 6."""
    with pytest.raises(Killed):
        run_training(tmp_path, dataset, actions=[at(step, kill)], hooks=[Histogram()])
    model, result = run_training(tmp_path, dataset, hooks=[Histogram()])
    folder, weights, expected = whole
    assert result == expected
    for found, wanted in zip(model.variables, weights, strict=True):
        np.testing.assert_array_equal(found.numpy(), wanted, err_msg=found.path)
    assert (tmp_path / "metrics.jsonl").read_bytes() == (folder / "metrics.jsonl").read_bytes()
    kept = [e for e in events(tmp_path / "tensorboard") if not e[0].startswith("timing")]
    wanted = [e for e in events(folder / "tensorboard") if not e[0].startswith("timing")]
    assert kept == wanted and len(kept) == len(set(kept)) > 50
    assert [s for tag, s in kept if tag == "a/histogram"] == [6, 12, 18, 24]
    timed = [json.loads(x)["step"] for x in (tmp_path / "timing.jsonl").read_text().splitlines()]
    assert timed == list(range(3, 25, 3))
    timings = [e for e in events(tmp_path / "tensorboard") if e[0].startswith("timing")]
    assert [s for _, s in timings] == timed


def test_sigterm_saves_and_exits_with_143(tmp_path, dataset, whole, caplog):
    with pytest.raises(SystemExit) as stopped:
        run_training(
            tmp_path, dataset, actions=[at(8, lambda: os.kill(os.getpid(), signal.SIGTERM))]
        )
    assert stopped.value.code == 143
    assert "run the same command to go on, without `restart=True`." in caplog.text
    assert list_checkpoints(tmp_path / "checkpoints", "step")[-1].name.startswith("step-00000009")
    model, _ = run_training(tmp_path, dataset)
    for found, wanted in zip(model.variables, whole[1], strict=True):
        np.testing.assert_array_equal(found.numpy(), wanted)


def test_a_finished_run_is_not_trained_again(tmp_path, whole, dataset):
    folder, weights, expected = whole
    shutil.copytree(folder, tmp_path / "copy")
    model, result = run_training(tmp_path / "copy", dataset, actions=[kill])
    assert result == expected
    np.testing.assert_array_equal(model.variables[0].numpy(), weights[0])


def test_training_works_outside_the_main_thread(tmp_path, dataset):
    results = []
    thread = threading.Thread(
        target=lambda: results.append(run_training(tmp_path, dataset, steps=3)[1])
    )
    thread.start()
    thread.join()
    assert results[0].step == 3


def test_a_run_ends_with_averaged_weights_also_when_it_was_killed(tmp_path, dataset, whole):
    averaged = {"use_ema": True, "ema_momentum": 0.9}
    wanted, expected = run_training(tmp_path / "whole", dataset, optimizer=averaged)
    last = dict(zip([v.path for v in wanted.variables], whole[1], strict=True))
    assert np.abs(wanted.get_layer("conv").kernel.numpy() - last["conv/kernel"]).max() > 1e-4
    with pytest.raises(Killed):
        run_training(tmp_path / "cut", dataset, optimizer=averaged, actions=[at(14, kill)])
    for _ in range(2):  # a finished run is not averaged twice
        model, result = run_training(tmp_path / "cut", dataset, optimizer=averaged)
        assert result == expected
        for found, value in zip(model.variables, wanted.variables, strict=True):
            np.testing.assert_array_equal(found.numpy(), value.numpy())


def test_batches_that_come_to_an_end_are_named(tmp_path, dataset):
    run = RunDirectory(tmp_path, {})
    trainer = Trainer(
        make_step(make_model()),
        TrainOptions(10),
        run,
        lambda start: data.training_batches(dataset.train, 10, 1, start, preprocessing=WHITEN).take(
            3
        ),
        lambda: data.evaluation_batches(dataset.valid, 20, preprocessing=WHITEN),
        learning_rate=lambda step: 0.1,
    )
    with pytest.raises(DataError, match="end before step 4; `train_batches` must go on"):
        trainer.train()
    run.close()
