"""The folder of a run: settings, locks, restarts."""

import pytest

from splitnet_tf.errors import RunError
from splitnet_tf.runs import RunDirectory, read_config
from tests.training.small_run import run_training


def test_other_settings_are_refused_with_the_difference(tmp_path, dataset):
    run_training(tmp_path, dataset, steps=3, config={"seed": 1, "batch": 2, "method": "argmax"})
    with pytest.raises(RunError, match=r"other settings \(batch 2 -> 3\).*`restart=True`"):
        RunDirectory(tmp_path, {"seed": 1, "batch": 3, "method": "balanced"}, free=["method"])
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(RunError, match="config.json: not valid JSON"):
        RunDirectory(tmp_path, {})
    with pytest.raises(RunError, match="no config.json"):
        read_config(tmp_path / "nowhere")


def test_folders_from_before_a_setting_was_there_go_on(tmp_path):
    now = {"seed": 1, "bfloat16": False, "data_digest": "ab"}
    RunDirectory(tmp_path, {"seed": 1}).close()

    def today(config):
        return {"bfloat16": False, **config}

    with pytest.raises(RunError, match=r"other settings \(bfloat16 false -> true\)"):
        RunDirectory(tmp_path, {**now, "bfloat16": True}, today=today)
    RunDirectory(tmp_path, now, today=today).close()
    with pytest.raises(RunError, match=r'data_digest "ab" -> "cd"'):
        RunDirectory(tmp_path, {**now, "data_digest": "cd"})


def test_free_settings_may_change(tmp_path):
    RunDirectory(tmp_path, {"seed": 1, "pictures": 5, "device": "a"}).close()
    for free in ((), ["device"]):
        with pytest.raises(RunError, match=r"other settings \(.*pictures 5 -> 0\); use those"):
            RunDirectory(tmp_path, {"seed": 1, "pictures": 0, "device": "b"}, free=free)
    config = {"seed": 1, "pictures": 0, "device": "b"}
    RunDirectory(tmp_path, config, free=["pictures", "device"]).close()
    assert read_config(tmp_path) == config


def test_settings_of_before_are_read_in_todays_words(tmp_path):
    RunDirectory(tmp_path, {"augment": True}).close()

    def today(config):
        return {**config, "augment": "crop_flip" if config["augment"] is True else "none"}

    with pytest.raises(RunError, match='augment "crop_flip" -> "none"'):
        RunDirectory(tmp_path, {"augment": "none"}, today=today)
    RunDirectory(tmp_path, {"augment": "crop_flip"}, today=today).close()
    assert read_config(tmp_path) == {"augment": "crop_flip"}


@pytest.mark.parametrize(
    ("before", "now", "goes_on"),
    [
        ({"epochs": 2.0}, {"epochs": 3.5}, True),
        ({"epochs": 2.0}, {"epochs": 1.0}, False),
        ({"max_steps": 5}, {"max_steps": 9}, True),
        ({"max_steps": 0}, {"max_steps": 9}, False),
        ({"max_steps": 9}, {"max_steps": 0}, False),
        ({"epochs": 2.0, "seed": 1}, {"epochs": 3.0, "seed": 2}, False),
        ({"rate": 2.0}, {"rate": 3.0}, False),
    ],
)
def test_a_run_goes_on_for_longer(before, now, goes_on, tmp_path, caplog):
    RunDirectory(tmp_path, before).close()
    if not goes_on:
        with pytest.raises(RunError, match="was made with other settings"):
            RunDirectory(tmp_path, now)
        return
    (tmp_path / "result.json").write_text("of the shorter run")
    with caplog.at_level("INFO"):
        RunDirectory(tmp_path, now, results=["result.json", "tree.keras"]).close()
    assert not (tmp_path / "result.json").exists()
    assert "from here on the learning rate follows the longer schedule" in caplog.text
    assert read_config(tmp_path) == now


def test_the_same_data_may_lie_elsewhere(tmp_path):
    RunDirectory(tmp_path, {"dataset": "a.npz", "data_digest": "ab"}).close()
    RunDirectory(tmp_path, {"dataset": "b.npz", "data_digest": "ab"}).close()
    with pytest.raises(RunError, match='data_digest "ab" -> "cd"'):
        RunDirectory(tmp_path, {"dataset": "b.npz", "data_digest": "cd"})
    RunDirectory(tmp_path / "named", {"dataset": "planted"}).close()
    with pytest.raises(RunError, match='dataset "planted" -> "digits"'):
        RunDirectory(tmp_path / "named", {"dataset": "digits"})


def test_restart_removes_the_results_of_the_run_before(tmp_path):
    RunDirectory(tmp_path, {"seed": 1}).close()
    results = ("grouped.keras", "grouping.json", "evaluation.json")
    for name in (*results, "notes.txt"):
        (tmp_path / name).write_text("old")
    RunDirectory(tmp_path, {"seed": 1}).close()
    assert (tmp_path / "grouping.json").exists()
    RunDirectory(tmp_path, {"seed": 2}, restart=True, results=(*results, "missing")).close()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["config.json", "notes.txt", "run.lock"]


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


def test_a_folder_in_use_is_refused(tmp_path):
    run = RunDirectory(tmp_path, {})
    with pytest.raises(RunError, match="is in use by another run"):
        RunDirectory(tmp_path, {})
    run.close()
    RunDirectory(tmp_path, {}).close()


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
