"""What a run begins with: weights of another are taken over, and files may not change under it."""

import json
from dataclasses import replace

import pytest

from splitnet_tf.analysis import suggest_cuts
from splitnet_tf.data import planted_groups, save_arrays
from splitnet_tf.grouping import Grouping
from splitnet_tf.storage.json_files import read_json, write_json
from splitnet_tf.storage.models import load_model
from tests.cli.forked import run
from tests.cli.small_programs import COMMON, GROUP, SPLIT, small_model

NAMES = [f"group{g}-{k}" for g in (0, 1) for k in range(4)]


@pytest.fixture
def begin(tmp_path):
    """Runs a program to its end."""

    def begin(name, *arguments, code=0):
        found, printed = run(name, [*COMMON, *arguments], tmp_path / "out")
        assert found == code, printed[-2000:]
        return printed

    small_model(tmp_path / "small.keras")
    return begin


@pytest.mark.slow
def test_a_changed_taxonomy_is_refused(begin, tmp_path):
    tree = tmp_path / "tree.json"
    tree.write_text(json.dumps({"a": NAMES[:4], "b": NAMES[4:]}))
    command = [
        *(*GROUP, f"--grouping={tree}"),
        *(f"--model={tmp_path / 'small.keras'}", f"--train_dir={tmp_path / 'group'}"),
    ]
    begin("group", *command)
    before = (tmp_path / "group" / "grouping.json").read_bytes()
    tree.write_text(json.dumps({"a": NAMES[::2], "b": NAMES[1::2]}))
    printed = begin("group", *command, code=1)
    assert "was made with other settings (given_digest" in printed
    assert (tmp_path / "group" / "grouping.json").read_bytes() == before


def test_changed_data_are_refused(begin, tmp_path):
    """By both programs; the same data under another name and time are the same."""
    data = planted_groups((2,), num_train=64, num_valid=32, num_test=32)
    file = tmp_path / "own.npz"
    save_arrays(data, file)
    group = [
        *(*GROUP, f"--dataset={file}", f"--model={tmp_path / 'small.keras'}", "--max_steps=3"),
        f"--train_dir={tmp_path / 'group'}",
    ]
    split = [*SPLIT, f"--dataset={file}", f"--basemodel={tmp_path / 'group'}", "--max_steps=2"]
    split += [f"--train_dir={tmp_path / 'split'}"]
    begin("group", *group)
    begin("split", *split)
    save_arrays(data, file)
    begin("group", *group)
    images = data.train.images.copy()
    images[0, 0, 0, 0] ^= 1
    save_arrays(replace(data, train=replace(data.train, images=images)), file)
    for name, command in (("group", group), ("split", split)):
        assert "was made with other settings (data_digest" in begin(name, *command, code=1)


@pytest.mark.slow
def test_a_split_is_not_resumed_with_another_grouping(begin, tmp_path):
    """The same groups under other numbers fit every shape, and are another tree all the same."""
    group, file = tmp_path / "group", tmp_path / "grouping.json"
    begin("group", *GROUP, f"--model={tmp_path / 'small.keras'}", f"--train_dir={group}")
    found = Grouping.load(group / "grouping.json")
    command = [
        *(*SPLIT, f"--basemodel={group}", f"--grouping={file}"),
        *(f"--train_dir={tmp_path / 'split'}", "--max_steps=2"),
    ]
    found.save(file)
    begin("split", *command)
    begin("split", *command)  # the same again is the same run
    before = (tmp_path / "split" / "tree.keras").read_bytes()
    turned = [replace(s, members=s.members[::-1]) for s in found.spaces]
    replace(found, spaces=tuple(turned)).save(file)
    printed = begin("split", *command, code=1)
    assert "was made with other settings (base_digest" in printed
    assert (tmp_path / "split" / "tree.keras").read_bytes() == before


def test_a_base_model_is_taken_over(begin, tmp_path):
    """A plain training, then grouping from it, as ``--model`` and as ``--basemodel``."""
    small, plain = tmp_path / "small.keras", tmp_path / "plain"
    begin(
        *("group", f"--model={small}", "--splits=logits:1"),
        *(f"--train_dir={plain}", "--max_steps=100"),
    )
    still = ["--max_steps=3", "--warmup_epochs=0", "--initial_lr=0", "--final_lr=0"]
    begin(
        *("group", f"--model={plain / 'model.keras'}", "--splits=second:2,logits:2", *still),
        f"--train_dir={tmp_path / 'file'}",
    )
    begin(
        *("group", f"--model={small}", "--splits=logits:2", *still, "--finetune"),
        *(f"--basemodel={plain}", f"--train_dir={tmp_path / 'grouped'}"),
    )
    found, file, grouped = (
        read_json(tmp_path / n / "result.json") for n in ("plain", "file", "grouped")
    )
    assert found["valid_accuracy"] > 0.2  # of eight classes: it has learned something
    assert file["valid_accuracy_at_start"] == found["valid_accuracy"]
    assert grouped["valid_accuracy_at_start"] == found["valid_accuracy"]
    assert grouped["test_accuracy"] == pytest.approx(found["test_accuracy"], abs=0.1)


def test_a_cut_by_budget_stays_that_of_its_run(begin, tmp_path):
    """It is the first that ``cost`` lists; a run goes on with it though it would find another."""
    model, folder = tmp_path / "small.keras", tmp_path / "group"
    cuts = suggest_cuts(load_model(model)).within(max_params="0.8x")
    command = ["--splits=auto", "--max_params=0.8x", "--warmup_epochs=0.01", f"--model={model}"]
    command += [f"--train_dir={folder}", "--max_steps=4"]
    assert f"--splits=auto takes {cuts.cuts[0].start}:2." in begin("group", *command)
    config = read_json(folder / "config.json")
    assert config["sections"] == f"{cuts.cuts[0].start}:2" and config["splits"] == "auto"
    assert Grouping.load(folder / "grouping.json").sections == tuple(cuts.sections)
    write_json(folder / "config.json", {**config, "sections": "logits:2"})
    assert "--splits=auto takes logits:2." in begin("group", *command, code=1)
