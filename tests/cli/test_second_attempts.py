"""A run that failed is mended in its own folder, by what the sentence says."""

import shutil

import keras
import pytest
from keras import layers

from splitnet_tf.grouping import Grouping
from splitnet_tf.storage.json_files import read_json, write_json
from tests.cli.forked import run
from tests.cli.small_programs import COMMON, GROUP, same_weights, small_model

# Eight classes at random into eight groups, and nothing is learned: some group gets none.
EMPTY = ["--splits=second:2,logits:8", "--assignment_init=random", "--warmup_epochs=0"]
EMPTY += ["--initial_lr=0", "--final_lr=0", "--max_steps=2"]


@pytest.fixture
def group(tmp_path):
    """Runs the group program in one folder; what it printed."""
    small_model(tmp_path / "small.keras")

    def group(*arguments, code=0):
        command = [*COMMON, *GROUP, f"--train_dir={tmp_path / 'group'}", *arguments]
        found, printed = run("group", command, tmp_path / "out", cwd=tmp_path)
        assert found == code and "Traceback" not in printed, printed[-2000:]
        return " ".join(printed.split())

    return group


def test_a_model_that_cannot_be_grouped_leaves_no_settings_behind(group, tmp_path):
    inputs = keras.Input((16, 16, 3))
    x = layers.Dense(8, name="second")(layers.Flatten()(inputs))
    halves = [layers.Dense(4, name=name)(x) for name in ("logits", "others")]
    keras.Model(inputs, layers.Concatenate()(halves)).save(tmp_path / "halves.keras")
    printed = group("--model=halves.keras", "--preprocessing=whiten", code=1)
    assert "error: The classes of --model are made by several layers (logits, others);" in printed
    group("--model=small.keras", "--max_steps=2", "--warmup_epochs=0")


def test_a_run_with_an_empty_group_is_read_again(group, tmp_path):
    command = ["--model=small.keras", *EMPTY]
    printed = group(*command, code=1)
    folder = tmp_path / "group"
    assert "is empty (sizes " in printed and "larger --gamma3 in another --train_dir." in printed
    assert f"run again with --method=balanced and --train_dir={folder} " in printed
    shutil.copy(folder / "grouped.keras", tmp_path / "before.keras")
    assert "resumed from" in group(*command, "--method=balanced")
    assert [len(m) for m in Grouping.load(folder / "grouping.json").classes.members] == [1] * 8
    same_weights(folder / "grouped.keras", tmp_path / "before.keras")


@pytest.mark.slow
def test_a_split_of_an_empty_group_names_its_flags_and_leaves_no_folder(group, tmp_path):
    group("--model=small.keras", *EMPTY, code=1)
    base, folder = tmp_path / "group", tmp_path / "split"
    command = [*COMMON, "--max_steps=2", f"--basemodel={base}", f"--train_dir={folder}"]
    found, printed = run("split", [*command, "--method=argmax"], tmp_path / "out")
    printed = " ".join(printed.split())
    assert found == 1 and "Traceback" not in printed
    assert "is empty (sizes " in printed and f"by the assignments of --basemodel={base};" in printed
    assert "read them with --method=balanced, or group anew with a larger `gamma3`." in printed
    assert not folder.exists()
    (base / "grouping.json").write_text("{")  # is not needed for it
    found, printed = run("split", [*command, "--method=file"], tmp_path / "out")
    assert found == 1 and "grouping.json: not valid JSON" in " ".join(printed.split())
    found, printed = run("split", [*command, "--method=balanced"], tmp_path / "out")
    assert found == 0, printed[-2000:]
    assert [len(m) for m in Grouping.load(folder / "grouping.json").classes.members] == [1] * 8
    # Off the blocks of the groups that are written, not of those that argmax would read.
    shares = read_json(folder / "result.json")["off_block_energy"]
    group("--model=small.keras", *EMPTY, "--method=balanced")
    found = read_json(base / "result.json")["off_block_energy"]
    assert found == pytest.approx(sum(shares.values()) / len(shares), rel=1e-5)


def test_a_run_from_before_a_flag_was_there_goes_on(group, tmp_path):
    """As an earlier version wrote it: without later flags, the augmentation a switch."""
    command = [
        "--model=small.keras",
        "--preprocessing=whiten",
        "--max_steps=4",
        "--warmup_epochs=0",
    ]
    group(*command)
    file = tmp_path / "group" / "config.json"
    config = read_json(file)
    later = ("teacher", "teacher_weight", "temperature", "optimizer", "class_weight")
    for name in (*later, "preprocessing", "bfloat16"):
        del config[name]
    write_json(file, {**config, "augment": True})
    assert "resumed from" in group(*command)
    write_json(file, {**config, "augment": True})
    printed = group(*command, "--optimizer=adamw", code=1)
    assert 'optimizer "sgd" -> "adamw"' in printed
