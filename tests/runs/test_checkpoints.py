"""Checkpoints: which are taken, which are kept, damage."""

import hashlib
import io
import os

import numpy as np
import pytest

from splitnet_tf.errors import CheckpointError
from splitnet_tf.runs import RunDirectory
from splitnet_tf.runs.checkpoints import (
    list_checkpoints,
    prune_checkpoints,
    read_checkpoint,
    save_checkpoint,
)
from splitnet_tf.training import TrainOptions
from tests.training.small_run import (
    Killed,
    at,
    kill,
    make_model,
    make_step,
    make_trainer,
    run_training,
)


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
    with pytest.raises(CheckpointError, match="Every checkpoint in .* is damaged.*`restart=True`"):
        run_training(tmp_path, dataset)
    run_training(tmp_path, dataset, steps=3, restart=True)


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


@pytest.mark.parametrize("damage", ["cut", "gone"])
def test_without_a_best_checkpoint_the_last_weights_stay(tmp_path, dataset, damage, caplog):
    run_training(tmp_path, dataset, steps=6)
    folder = tmp_path / "checkpoints"
    (best,) = list_checkpoints(folder, "best")
    # An earlier one, which is whole, is not what was the best.
    arrays, state = read_checkpoint(best)
    save_checkpoint(folder, "best", 3, [np.zeros_like(a) for a in arrays], state)
    best.write_bytes(b"") if damage == "cut" else best.unlink()
    run = RunDirectory(tmp_path, {"seed": 1})
    model = make_model()
    trainer = make_trainer(make_step(model), run, dataset, TrainOptions(6))
    trainer.train()
    last = [w.numpy() for w in model.variables]
    assert not trainer.restore_best()
    run.close()
    assert "last weights are used" in caplog.text and "restart" not in caplog.text
    for found, wanted in zip(model.variables, last, strict=True):
        np.testing.assert_array_equal(found.numpy(), wanted)
