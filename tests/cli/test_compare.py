"""Learned against given groupings: the rows are those of the runs."""

import contextlib
import json
import shutil
from pathlib import Path

import pytest
from absl import flags

from splitnet_tf import models
from splitnet_tf.cli.compare_runs import COMMANDS, Runs, is_done
from splitnet_tf.errors import SplitNetError
from splitnet_tf.runs import SplitResult
from splitnet_tf.storage.json_files import read_json, write_json
from tests.cli.forked import start
from tests.cli.small_programs import small_model


@pytest.mark.slow  # four programs, one after the other
def test_groupings_are_compared_on_the_same_budget(tmp_path):
    small_model(tmp_path / "small.keras")
    out, err = tmp_path / "out", tmp_path / "err"

    def run(*arguments, code=0):
        for file in (out, err):
            file.write_text("")
        process = start("compare", arguments, out, err)
        process.join()
        assert process.exitcode == code, err.read_text()[-2000:]
        return out.read_text()

    arguments = [
        *("--dataset=planted", f"--train_dir={tmp_path / 'runs'}", "--format=json"),
        *("--groupings=semantic,random", "--seeds=3"),
        f"--plain_flags=--model={tmp_path / 'small.keras'} --splits=logits:1 --max_steps=10",
        f"--group_flags=--model={tmp_path / 'small.keras'} --splits=second:2,logits:2 "
        "--max_steps=12 --warmup_epochs=0.1 --gamma1=2 --converged_hold=1000",
        "--split_flags=--max_steps=8 --recalibrate_batches=2",
    ]
    found = json.loads(run(*arguments))
    assert [row["grouping"] for row in found["rows"]] == ["semantic", "random"]
    for row in found["rows"]:
        errors = []
        for seed, entry in zip([3], row["runs"], strict=True):
            folder = tmp_path / "runs" / f"{row['grouping']}-seed{seed}"
            config = read_json(folder / "group" / "config.json")
            assert (config["seed"], config["grouping"]) == (seed, row["grouping"])
            assert config["gamma1"] == 2 and config["max_steps"] == 12
            base = tmp_path / "runs" / f"plain-seed{seed}" / "group"
            assert config["basemodel"] == str(base)
            assert read_json(base / "result.json")["steps"] == 10
            result = read_json(folder / "split" / "result.json")
            errors.append(1 - result["test_accuracy"]["finetuned"])
            assert entry["error"] == errors[-1] and entry["steps"] == 8
        assert row["error"] == errors[0] and row["error_spread"] is None
    assert found["rows"][0]["nmi"] == 1.0 and found["rows"][1]["nmi"] < 0.6
    last = tmp_path / "runs" / "random-seed3" / "split" / "result.json"
    before = last.stat().st_mtime_ns
    text = run(*[a for a in arguments if a != "--format=json"])
    assert "test error (%)" in text and "4/4" in text
    assert last.stat().st_mtime_ns == before  # what is there is not run again
    shutil.rmtree(tmp_path / "runs" / "plain-seed3")
    run(*[a.replace("--max_steps=10", "--max_steps=11") for a in arguments], code=1)
    assert "was made with other settings" in err.read_text() and "start_digest" in err.read_text()


@pytest.mark.parametrize(
    ("text", "plain"),
    [
        ("--splits=1-1-1", True),
        ("--epochs 3 --splits 1-1 --model mlp", True),
        ("--model=x.keras --preprocessing=none --splits=a-2:1,logits:1", True),
        ("--ngroups1=1 --ngroups2=1 --ngroups3=1", True),
        ("--model=wrn-10-1 --epochs=3", False),
        ("--splits=1-1-2", False),
        ("--splits=2-2-2 --ngroups1=1 --ngroups2=1 --ngroups3=1", False),
        ("--model=x.keras --splits=logits:2", False),
    ],
)
def test_plain_flags_are_of_a_plain_network(text, plain, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    models.mlp((4,), 2, (3,)).save("x.keras")
    refused = pytest.raises(flags.Error, match="in each section: add --splits=1-1-1 to them")
    with contextlib.nullcontext() if plain else refused:
        made(plain=text.split()).check("random", 0)


def made(group=("--model=mlp", "--splits=2-2"), split=(), plain=None):
    return Runs(Path("runs"), "planted", None, "learned", group, split, plain)


def test_the_programs_of_a_run_start_from_one_another():
    found = made(split=["--epochs=3"], plain=["--splits=1-1"]).commands("x/own.json", 5)
    data = ["--dataset=planted", "--seed=5"]
    assert found == {
        "plain": [*data, "--splits=1-1", "--train_dir=runs/plain-seed5/group"],
        "group": [
            *(*data, "--grouping=x/own.json", "--features=learned"),
            *("--basemodel=runs/plain-seed5/group", "--model=mlp", "--splits=2-2"),
            "--train_dir=runs/own-seed5/group",
        ],
        "split": [
            *(*data, "--epochs=3", "--basemodel=runs/own-seed5/group"),
            "--train_dir=runs/own-seed5/split",
        ],
    }


WRONG = [
    ("nosuch", (), (), "`grouping` must be one of learned, semantic"),
    ("none.json", (), (), "none.json does not exist"),
    ("random", ("--gamma1=much",), (), "gamma1"),
    ("random", ("--nosuch=1",), (), "nosuch"),
    ("random", (), ("--basemodell=x",), "basemodell"),
    ("random", ("--splits=none:2",), (), "none"),
    ("random", ("--method=balanced",), (), "--method=balanced would change given groups"),
    ("learned", ("--equal_clusters=false",), (), "--equal_clusters has no effect"),
]


@pytest.mark.parametrize(("grouping", "group", "split", "sentence"), WRONG)
def test_a_grouping_that_cannot_be_run_is_refused_at_once(grouping, group, split, sentence):
    with pytest.raises((flags.Error, SplitNetError), match=sentence):
        made(group=["--model=mlp", "--splits=2-2", *group], split=split).check(grouping, 0)


def test_groupings_that_can_be_run_pass():
    for grouping in ("learned", "semantic", "clustering", "random"):
        made().check(grouping, 0)


def test_a_run_is_asked_again_unless_just_its_programs_have_run(tmp_path):
    wanted = {"plain": ["--epochs=3"], "group": ["--a"], "split": ["--b"]}
    assert not is_done(tmp_path, wanted)
    write_json(tmp_path / COMMANDS, wanted)
    assert not is_done(tmp_path, wanted)  # without a result
    SplitResult(steps=1).write(tmp_path / "split")
    assert is_done(tmp_path, wanted)
    for change in ({"plain": ["--epochs=4"]}, {"group": []}, {"split": ["--b", "--c"]}):
        assert not is_done(tmp_path, {**wanted, **change})
    del wanted["plain"]
    assert not is_done(tmp_path, wanted)


def test_a_run_of_a_file_that_may_have_changed_is_asked_again(tmp_path):
    SplitResult(steps=1).write(tmp_path / "split")
    for given in ("--grouping=own.json", "--dataset=own.npz"):
        wanted = {"group": [given], "split": []}
        write_json(tmp_path / COMMANDS, wanted)
        assert not is_done(tmp_path, wanted)
