"""Logs of a run: what they hold, damage, full disks."""

import contextlib
import json
import os

import numpy as np
import pytest

from splitnet_tf.errors import RunError
from splitnet_tf.runs import RunDirectory
from splitnet_tf.training.metrics_log import MetricsLog
from tests.training.small_run import Histogram, Killed, at, events, histogram, kill, run_training


def test_metrics_are_json_lines(whole):
    lines = [json.loads(x) for x in (whole[0] / "metrics.jsonl").read_text().splitlines()]
    shown = [x for x in lines if "train/loss" in x]
    assert [x["step"] for x in shown] == list(range(3, 25, 3))
    assert [x["step"] for x in lines if "valid/accuracy" in x] == [6, 12, 18, 24]
    first = shown[0]
    parts = first["train/cross_entropy"] + first["train/model_losses"] + first["train/l2"]
    assert first["train/loss"] == pytest.approx(parts)
    assert not list(whole[0].glob("**/*.tmp"))


@pytest.mark.parametrize("damage", ["cut", "flip"])
def test_damaged_events_are_named_and_the_run_goes_on(tmp_path, dataset, whole, damage, caplog):
    with pytest.raises(Killed):
        run_training(tmp_path, dataset, actions=[at(13, kill)], hooks=[Histogram()])
    (file,) = (tmp_path / "tensorboard").iterdir()
    content = bytearray(file.read_bytes())
    if damage == "cut":
        content = content[:100]
    else:
        content[100] ^= 1
    file.write_bytes(content)
    run_training(tmp_path, dataset, hooks=[Histogram()])
    assert f"{file} is " + {"cut": "cut short", "flip": "damaged"}[damage] in caplog.text
    found = events(tmp_path / "tensorboard")
    assert len(found) == len(set(found))
    scalars = {e for e in events(whole[0] / "tensorboard") if e[0] != "a/histogram"}
    assert scalars <= set(found) and ("a/histogram", 24) in found


@pytest.mark.parametrize("damage", ["cut", "flip", "digit"])
def test_a_damaged_log_is_named_and_the_run_goes_on(tmp_path, dataset, whole, damage, caplog):
    with pytest.raises(Killed):
        run_training(tmp_path, dataset, actions=[at(13, kill)])
    log = tmp_path / "metrics.jsonl"
    content = bytearray(log.read_bytes())
    if damage == "cut":
        content = content[: len(content) // 2]
    elif damage == "flip":
        content[5] ^= 0x80
    else:
        at_digit = content.index(b"0.") + 2
        content[at_digit] = ord("1") if content[at_digit] != ord("1") else ord("2")
    log.write_bytes(content)
    model, _ = run_training(tmp_path, dataset)
    assert "metrics.jsonl is damaged" in caplog.text
    for found, wanted in zip(model.variables, whole[1], strict=True):
        np.testing.assert_array_equal(found.numpy(), wanted)
    steps = [json.loads(x)["step"] for x in log.read_text().splitlines()]
    assert steps == sorted(steps) and steps[-1] == 24


def test_a_damaged_log_has_each_step_once_after_a_second_kill(tmp_path, dataset):
    """Cut where it was damaged it is shorter than its checkpoint says."""
    with pytest.raises(Killed):
        run_training(tmp_path, dataset, actions=[at(13, kill)])
    log = tmp_path / "metrics.jsonl"
    content = bytearray(log.read_bytes())
    content[5] ^= 0x80
    log.write_bytes(content)
    with pytest.raises(Killed):
        run_training(tmp_path, dataset, actions=[at(13, kill)])
    run_training(tmp_path, dataset)
    entries = [json.loads(x) for x in log.read_text().splitlines()]
    shown = [(e["step"], "valid/accuracy" in e) for e in entries]
    assert len(shown) == len(set(shown)) and shown[-1][0] == 24


def test_a_whole_log_is_not_called_damaged(tmp_path, dataset, caplog):
    with pytest.raises(Killed):
        run_training(tmp_path, dataset, actions=[at(13, kill)])
    run_training(tmp_path, dataset)
    assert "damaged" not in caplog.text and "bit for bit" not in caplog.text


def test_events_that_did_not_fit_the_disk_stop_the_run(tmp_path):
    run = RunDirectory(tmp_path, {})
    log = MetricsLog(run)
    histogram(1, log.writer)
    log.marks()
    (file,) = run.tensorboard.iterdir()
    histogram(2, log.writer)
    log.writer.flush()
    with open(file, "r+b") as events_file:
        events_file.truncate(file.stat().st_size - 5)
    with pytest.raises(RunError, match="logs in .* cannot be written: No space left"):
        log.marks()
    log.close()
    run.close()


def test_a_log_that_does_not_fit_the_disk_is_one_sentence(tmp_path):
    if not os.path.exists("/dev/full"):
        pytest.skip("this system has no /dev/full")
    run = RunDirectory(tmp_path, {})
    log = MetricsLog(run)
    # What the log has open is the device from here on: everything fits it but nothing is kept.
    full, inode = os.open("/dev/full", os.O_WRONLY), run.metrics.stat().st_ino
    for number in map(int, os.listdir("/proc/self/fd")):
        with contextlib.suppress(OSError):
            if os.fstat(number).st_ino == inode:
                os.dup2(full, number)
    os.close(full)
    with pytest.raises(RunError, match="logs in .* cannot be written: No space left"):
        log.write(1, {"loss": 1.0})
    log.close()
    run.close()
