"""The loop: exact resume, signals, threads."""

import json
import os
import shutil
import signal
import threading

import numpy as np
import pytest

from splitnet_tf.runs.checkpoints import list_checkpoints
from tests.training.small_run import Histogram, Killed, at, events, kill, run_training


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
