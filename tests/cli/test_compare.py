"""Learned against given groupings: the rows are those of the runs."""

import contextlib
import json
import shutil
import statistics

import pytest
from absl import flags

from splitnet_tf.cli import compare
from splitnet_tf.cli.compare import add_differences, summarize
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
        ("--model=x.keras --splits=a-2:1,logits:1", True),
        ("--ngroups1=1 --ngroups2=1 --ngroups3=1", True),
        ("--model=wrn-10-1 --epochs=3", False),
        ("--splits=1-1-2", False),
        ("--splits=2-2-2 --ngroups1=1 --ngroups2=1 --ngroups3=1", False),
        ("--model=x.keras --splits=logits:2", False),
    ],
)
def test_plain_flags_are_of_a_plain_network(text, plain):
    refused = pytest.raises(flags.Error, match="in each section: add --splits=1-1-1 to them")
    with contextlib.nullcontext() if plain else refused:
        compare.check_plain(text.split())


def test_a_run_is_asked_again_when_the_plain_one_before_it_has_other_flags(tmp_path, monkeypatch):
    begun = []

    def begin(command, **_):
        begun.append(command[-1])
        write_json(tmp_path / "split" / "result.json", {})

    (tmp_path / "split").mkdir()
    monkeypatch.setattr(compare.subprocess, "Popen", begin)
    monkeypatch.setattr(compare, "finished", lambda process: 0)
    wanted = {"group": ["--a"], "split": ["--b"]}
    for plain in ((), (), ["--epochs=3"], ["--epochs=3"], ["--epochs=4"]):
        compare.run(tmp_path, wanted, plain)
    assert begun == ["--a", "--b"] * 3


def test_rows_are_means_and_sample_deviations():
    runs = [
        {"error": e, "error_after_cut": 0.5, "error_before": 0.2, "nmi": None} for e in (0.1, 0.4)
    ]
    row = summarize("learned", runs)
    assert row["error"] == statistics.mean((0.1, 0.4))
    assert row["error_spread"] == statistics.stdev((0.1, 0.4))
    assert row["nmi"] is None and row["nmi_spread"] is None


def test_differences_from_random_groups_are_those_of_each_seed():
    rows = [
        {"grouping": "learned", "runs": [{"error": 0.30}, {"error": 0.50}]},
        {"grouping": "random", "runs": [{"error": 0.31}, {"error": 0.53}]},
    ]
    add_differences(rows)
    assert rows[0]["better"] == pytest.approx(0.02)
    assert rows[0]["better_spread"] == pytest.approx(statistics.stdev([0.01, 0.03]))
    assert (rows[1]["better"], rows[1]["better_spread"]) == (0, 0)
    alone = [{"grouping": "learned", "runs": [{"error": 0.3}]}]
    add_differences(alone)
    assert "better" not in alone[0]
