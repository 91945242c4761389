"""Hooks: who is asked what, in which order, and their states in checkpoints of now and before."""

import json

import numpy as np
import pytest

from splitnet_tf.runs.checkpoints import list_checkpoints, read_checkpoint, save_checkpoint
from splitnet_tf.training import Hook
from splitnet_tf.training.hooks import Hooks
from tests.training.small_run import Killed, at, kill, run_training


class Counter(Hook):
    """Counts evaluations, logs how many, and stops after some."""

    loss_group = "own_losses"

    def __init__(self, last, reason="enough"):
        self.state = {"count": 0}
        self._last, self._reason = last, reason
        self.begun = 0

    def begin(self, writer):
        self.begun += 1

    def scalars(self):
        return {"count": self.state["count"]}

    def status(self, values):
        return f"{values['count']} of {self._last}"

    def stop(self, step):
        self.state = {"count": self.state["count"] + 1}
        return self._reason if self.state["count"] >= self._last else ""


def test_a_hook_that_does_nothing_changes_nothing(tmp_path, dataset, whole):
    model, result = run_training(tmp_path, dataset, hooks=[Hook()])
    assert result == whole[2]
    for found, wanted in zip(model.variables, whole[1], strict=True):
        np.testing.assert_array_equal(found.numpy(), wanted)


def test_hooks_log_speak_stop_and_begin_once(tmp_path, dataset, caplog):
    caplog.set_level("INFO")
    hook = Counter(3)
    with pytest.raises(Killed):
        run_training(tmp_path, dataset, hooks=[hook], actions=[at(14, kill)])
    assert hook.begun == 1
    hook = Counter(3)
    _, result = run_training(tmp_path, dataset, hooks=[Hook(), hook])
    assert hook.begun == 0 and (result.stopped, result.step) == ("enough", 18)
    log = [json.loads(x) for x in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert [e["count"] for e in log if "count" in e] == [0, 1, 1, 2, 2, 3]
    assert all("train/own_losses" in e for e in log if "train/loss" in e)
    assert "2 of 3" in caplog.text and "step 18: enough, training ends" in caplog.text


def test_every_hook_is_asked_whether_to_stop_and_the_first_reason_counts():
    hooks = [Counter(3, "later"), Counter(2, "one"), Counter(2, "other")]
    together = Hooks(hooks)
    assert [together.stop(step) for step in range(2)] == ["", "one"]
    assert [h.state["count"] for h in hooks] == [2, 2, 2]
    assert together.status({"count": 1}) == "1 of 3, 1 of 2, 1 of 2"


def test_each_hook_gets_its_own_state_back():
    hooks = [Counter(9), Hook(), Counter(9)]
    hooks[0].stop(1)
    saved = json.loads(json.dumps(dict(Hooks(hooks).state)))
    assert saved == {"Counter/0": {"count": 1}, "Counter/1": {"count": 0}}
    others = [Hook(), Counter(9), Counter(9), Counter(9)]
    Hooks(others).restore(saved, None)
    assert [h.state.get("count") for h in others] == [None, 1, 0, 0]


def test_a_checkpoint_from_before_there_were_hooks_goes_on(tmp_path, dataset):
    """It had one state, that of the groups' convergence, under a name of its own."""
    with pytest.raises(Killed):
        run_training(tmp_path, dataset, hooks=[Counter(3)], actions=[at(16, kill)])
    folder = tmp_path / "checkpoints"
    arrays, document = read_checkpoint(list_checkpoints(folder, "step")[-1])
    document["converged"] = document.pop("hooks")["Counter/0"]
    save_checkpoint(folder, "step", document["step"], arrays, document)
    _, result = run_training(tmp_path, dataset, hooks=[Hook(), Counter(3)])
    assert (result.stopped, result.step) == ("enough", 18)
