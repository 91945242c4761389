"""The loop: exact resume, damaged checkpoints, locks, settings."""

import hashlib
import io
import json
import os
import shutil
import signal
import threading

import numpy as np
import pytest

from splitnet_tf.errors import CheckpointError, DataError, RunError
from splitnet_tf.training import RunDirectory, Trainer, TrainOptions, evaluate, read_config
from splitnet_tf.training.checkpoints import list_checkpoints, prune_checkpoints, read_checkpoint
from splitnet_tf.training.metrics_log import MetricsLog
from tests.training.small_run import Killed, at, events, histogram, kill, make_model, run_training


@pytest.mark.parametrize("step", [1, 7, 14, 20])
def test_a_killed_run_goes_on_bit_for_bit(tmp_path, dataset, whole, step):
    """Promise 6."""
    with pytest.raises(Killed):
        run_training(tmp_path, dataset, actions=[at(step, kill)], summarize=histogram)
    model, result = run_training(tmp_path, dataset, summarize=histogram)
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


def test_a_finished_run_is_not_trained_again(tmp_path, whole, dataset):
    folder, weights, expected = whole
    shutil.copytree(folder, tmp_path / "copy")
    model, result = run_training(tmp_path / "copy", dataset, actions=[kill])
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
    with pytest.raises(RunError, match="config.json: not valid JSON"):
        RunDirectory(tmp_path, {})
    with pytest.raises(RunError, match="no config.json"):
        read_config(tmp_path / "nowhere")


def test_restart_removes_the_results_of_the_run_before(tmp_path):
    RunDirectory(tmp_path, {"seed": 1}).close()
    for name in ("grouped.keras", "grouping.json", "result.json", "notes.txt"):
        (tmp_path / name).write_text("old")
    RunDirectory(tmp_path, {"seed": 1}).close()
    assert (tmp_path / "grouping.json").exists()
    RunDirectory(tmp_path, {"seed": 2}, restart=True).close()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["config.json", "notes.txt", "run.lock"]


def test_a_folder_in_use_is_refused(tmp_path):
    run = RunDirectory(tmp_path, {})
    with pytest.raises(RunError, match="is in use by another run"):
        RunDirectory(tmp_path, {})
    run.close()
    RunDirectory(tmp_path, {}).close()


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
    with pytest.raises(DataError, match="labels must be from 0 to 5.*-1 to 3"):
        evaluate(lambda x: x, [(logits[:2], np.array([-1, 3]))])


def test_equal_logits_and_logits_that_are_no_numbers_are_no_hits():
    labels = np.array([0, 3, 5, 9])
    flat = evaluate(lambda x: x, [(np.zeros((4, 10), "float32"), labels)])
    assert (flat.top1, flat.top5) == (0.25, 0.5)  # the first five indices are the first five
    bad = evaluate(lambda x: x * np.nan, [(np.zeros((4, 10), "float32"), labels)])
    assert (bad.top1, bad.top5) == (0.0, 0.0)


@pytest.mark.parametrize("damage", ["cut", "flip"])
def test_damaged_events_are_named_and_the_run_goes_on(tmp_path, dataset, whole, damage, caplog):
    with pytest.raises(Killed):
        run_training(tmp_path, dataset, actions=[at(13, kill)], summarize=histogram)
    (file,) = (tmp_path / "tensorboard").iterdir()
    content = bytearray(file.read_bytes())
    if damage == "cut":
        content = content[:100]
    else:
        content[100] ^= 1
    file.write_bytes(content)
    run_training(tmp_path, dataset, summarize=histogram)
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


def test_of_two_checkpoints_of_a_step_the_newer_is_taken(tmp_path):
    folder = tmp_path / "checkpoints"
    folder.mkdir()
    names = [f"step-00000005-{digit * 16}.npz" for digit in "a0f"]
    for i, name in enumerate(names):
        (folder / name).touch()
        os.utime(folder / name, ns=(i, i))
    assert [p.name for p in list_checkpoints(folder, "step")] == names


def test_pruning_keeps_what_was_written_and_the_best_of_what_is_kept(tmp_path):
    def make(kind, step):
        path = tmp_path / f"{kind}-{step:08d}-{'0' * 16}.npz"
        path.touch()
        return path

    for step in (2, 4, 8, 12):
        make("best", step)
    written = make("step", 7)
    for step in (5, 6, 10, 15):  # the last two are damaged, say
        make("step", step)
    prune_checkpoints(tmp_path, 2, written)
    left = sorted(p.name[:13] for p in tmp_path.iterdir())
    assert left == [
        *("best-00000004", "best-00000008", "best-00000012"),
        *("step-00000007", "step-00000010", "step-00000015"),
    ]


def test_restart_refuses_what_cannot_be_removed(tmp_path, monkeypatch):
    RunDirectory(tmp_path, {"a": 1}).close()
    (tmp_path / "checkpoints").mkdir()

    def fail(path, *args, **kwargs):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr("shutil.rmtree", fail)
    with pytest.raises(RunError, match="cannot be written: Permission denied"):
        RunDirectory(tmp_path, {"a": 2}, restart=True)
    monkeypatch.undo()
    assert read_config(tmp_path) == {"a": 1}


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


def test_a_whole_log_is_not_called_damaged(tmp_path, dataset, caplog):
    with pytest.raises(Killed):
        run_training(tmp_path, dataset, actions=[at(13, kill)])
    run_training(tmp_path, dataset)
    assert "damaged" not in caplog.text and "bit for bit" not in caplog.text


def test_a_log_that_does_not_fit_the_disk_is_one_sentence(tmp_path):
    if not os.path.exists("/dev/full"):
        pytest.skip("this system has no /dev/full")
    run = RunDirectory(tmp_path, {})
    log = MetricsLog(run)
    log._metrics.close()
    log._metrics._file = open("/dev/full", "ab")  # noqa: SIM115
    with pytest.raises(RunError, match="logs in .* cannot be written: No space left"):
        log.write(1, {"loss": 1.0})
    log.close()
    run.close()


def test_a_file_that_only_looks_like_a_checkpoint_is_refused(tmp_path):
    for content in (b"not a zip", b"\x80\x04N.", b"PK\x05\x06" + bytes(18)):
        digest = hashlib.sha256(content).hexdigest()[:16]
        path = tmp_path / f"step-00000005-{digest}.npz"
        path.write_bytes(content)
        with pytest.raises(CheckpointError, match="is not one of this program"):
            read_checkpoint(path)


def test_a_checkpoint_that_unpacks_to_more_is_refused(tmp_path):
    buffer = io.BytesIO()
    np.savez_compressed(buffer, big=np.zeros(10**7, np.uint8))
    digest = hashlib.sha256(buffer.getvalue()).hexdigest()[:16]
    path = tmp_path / f"step-00000005-{digest}.npz"
    path.write_bytes(buffer.getvalue())
    with pytest.raises(CheckpointError, match="is not one of this program"):
        read_checkpoint(path)


def test_what_a_killed_writer_left_is_removed(tmp_path):
    RunDirectory(tmp_path, {}).close()
    left = [
        tmp_path / "checkpoints" / ".step-00000005-0123456789abcdef.npz.999.tmp",
        tmp_path / ".config.json.999.tmp",
        tmp_path / ".model.999.keras",
    ]
    kept = tmp_path / ".mine.tmp"
    left[0].parent.mkdir()
    for path in (*left, kept):
        path.write_bytes(b"x")
    RunDirectory(tmp_path, {}).close()
    assert [p.exists() for p in (*left, kept)] == [False, False, False, True]


def test_a_refused_folder_is_not_left_locked(tmp_path):
    RunDirectory(tmp_path, {"a": 1}).close()
    with pytest.raises(RunError, match="other settings") as refused:
        RunDirectory(tmp_path, {"a": 2})
    assert refused.value is not None  # its traceback still holds the object
    RunDirectory(tmp_path, {"a": 1}).close()


@pytest.mark.parametrize("damage", ["cut", "gone"])
def test_without_a_best_checkpoint_the_last_weights_stay(tmp_path, dataset, damage, caplog):
    run_training(tmp_path, dataset, steps=6)
    for path in list_checkpoints(tmp_path / "checkpoints", "best"):
        path.write_bytes(b"") if damage == "cut" else path.unlink()
    run = RunDirectory(tmp_path, {"seed": 1})
    model = make_model()
    trainer = Trainer(model, TrainOptions(6), run, None, None, learning_rate=lambda step: 0.1)
    trainer.train()
    last = [w.numpy() for w in model.variables]
    trainer.restore_best()
    run.close()
    assert "last weights are used" in caplog.text
    for found, wanted in zip(model.variables, last, strict=True):
        np.testing.assert_array_equal(found.numpy(), wanted)


def test_training_works_outside_the_main_thread(tmp_path, dataset):
    results = []
    thread = threading.Thread(
        target=lambda: results.append(run_training(tmp_path, dataset, steps=3)[1])
    )
    thread.start()
    thread.join()
    assert results[0].step == 3
