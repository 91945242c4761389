"""The programs as a user runs them: the whole chain and its scripts."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest

from splitnet_tf.data import load_dataset
from splitnet_tf.grouping.watch import grouping_status
from splitnet_tf.models.short_forms import parse_splits
from tests.cli.forked import run as run_to_end
from tests.cli.forked import start
from tests.conftest import ROOT
from tests.report.html_page import Page

SMALL = [
    "--dataset=planted",
    "--batch_size=64",
    "--lr_schedule=cosine",
    "--checkpoint_interval=0",
]


def run_script(program, *arguments, cwd=ROOT):
    """Runs a script as its user does; what it printed."""
    command = ["bash" if program.endswith(".sh") else sys.executable, str(ROOT / program)]
    env = {**os.environ, "PYTHON": sys.executable, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [*command, *map(str, arguments)], cwd=cwd, env=env, capture_output=True, text=True
    )
    assert done.returncode == 0 and "Traceback" not in done.stderr, done.stderr[-2000:]
    return done.stdout


@pytest.fixture
def run(tmp_path):
    """Runs a program, soon at its work; returns (stdout, stderr)."""
    out, err = tmp_path / "stdout", tmp_path / "stderr"

    def run(program, *arguments, cwd=ROOT, code=0):
        for file in (out, err):
            file.write_text("")
        process = start(program, arguments, out, err, cwd)
        process.join()
        assert process.exitcode == code, err.read_text()[-2000:]
        assert "Traceback" not in err.read_text()
        return out.read_text(), err.read_text()

    return run


@pytest.fixture(scope="module")
def chain(tmp_path_factory):
    """group.sh and split.sh on planted data, run from another folder."""
    folder = tmp_path_factory.mktemp("chain")
    run_script(
        "group.sh",
        *SMALL,
        "--model=wrn-10-1",
        "--train_dir=group",
        "--dropout_keep_prob=1",
        "--max_steps=330",
        "--warmup_epochs=2.5",
        cwd=folder,
    )
    run_script(
        "split.sh",
        *SMALL,
        "--basemodel=group",
        "--train_dir=split",
        "--max_steps=124",
        cwd=folder,
    )
    return folder


def test_the_chain_finds_the_planted_groups(chain):
    """Promise 7, and all files where the README says."""
    out = run_script(
        "eval.sh",
        "--dataset=planted",
        "--basemodel=split",
        "--format=json",
        "--figure=blocks.png",
        "--output_file=found.json",
        cwd=chain,
    )
    found = json.loads(out)
    assert found == json.loads((chain / "found.json").read_text())
    names = load_dataset("planted").class_names
    assert found["groups"]["planted_agreement"] == 1.0
    stages = found["stages"]
    assert stages["before"] > 0.9
    assert stages["finetuned"] > stages["before"] - 0.03
    assert found["split"]["top1"] == stages["finetuned"]
    assert found["split"]["params"] < 0.6 * found["unsplit"]["params"]
    assert sum(map(sum, found["split"]["confusion"])) == found["split"]["images"] == 800
    wrong = np.array(found["split"]["confusion"]) * (1 - np.eye(8, dtype=int))
    times = sorted((int(n) for n in wrong.ravel() if n), reverse=True)[:5]
    assert [c["times"] for c in found["most_confused"]] == times
    for pair in found["most_confused"]:
        at = [names.index(pair[which]) for which in ("class", "answer")]
        assert wrong[tuple(at)] == pair["times"]
    assert (chain / "blocks.png").read_bytes()[:4] == b"\x89PNG"
    for name in ("config.json", "metrics.jsonl", "grouping.json", "grouped.keras", "result.json"):
        assert (chain / "group" / name).is_file()
    for name in ("config.json", "metrics.jsonl", "grouping.json", "tree.keras", "result.json"):
        assert (chain / "split" / name).is_file()
    log = map(json.loads, (chain / "group" / "metrics.jsonl").read_text().splitlines())
    states = [grouping_status(entry) for entry in log if "split/decided" in entry]
    assert states[0].startswith("groups 0% decided")  # in the warm-up
    assert states[-1] == "groups 100% decided, class sizes 4/4, 0.0% off-block"


def test_a_report_is_made_of_what_the_programs_leave(run, chain, tmp_path):
    out, _ = run("report", chain / "split", "-o", tmp_path / "report.html")
    assert "report.html: 0." in out
    text = Page((tmp_path / "report.html").read_text()).text
    found = json.loads((chain / "split" / "result.json").read_text())
    assert "wrn-10-1 on planted, split 2-2-2 into 2 groups of 4 and 4 classes" in text
    assert f"{found['params']['before']:,} {found['params']['after']:,} " in text
    assert f"{found['flops']['before']:,} {found['flops']['after']:,} " in text
    assert f"after finetuning {100 * found['test_accuracy']['finetuned']:.2f}%" in text
    assert "(NMI) 1.000 " in text and "(ARI) 1.000 " in text and "Purity 1.000 " in text
    assert "evaluation.json is not there: the run has not been evaluated" in text


def test_a_placed_tree_is_evaluated(run, chain, tmp_path):
    out, _ = run(
        "evaluate",
        "--dataset=planted",
        "--basemodel=split",
        "--devices=/CPU:0,/CPU:1",
        "--trunk=shard",
        f"--output_file={tmp_path / 'found.json'}",
        cwd=chain,
    )
    assert "branch_1          /CPU:1" in out
    found = json.loads((tmp_path / "found.json").read_text())
    assert found["placed"]["top1"] == found["split"]["top1"]
    assert found["placed"]["confusion"] == found["split"]["confusion"]


def test_a_model_that_is_no_tree_has_no_other_form(run, chain):
    _, err = run(
        "evaluate", "--dataset=planted", "--basemodel=group", "--fuse=jit", cwd=chain, code=1
    )
    assert "is not a tree of branches" in err


@pytest.mark.slow
def test_a_split_is_exported(run, chain, tmp_path):
    out, _ = run("export", f"--basemodel={chain / 'split'}", f"--export_dir={tmp_path / 'e'}")
    assert "branch_0" in out and "trunk:0" in out
    assert "Run in a fresh process on 4 test images of planted; apart from the model" in out
    assert (tmp_path / "e" / "manifest.json").is_file()
    assert (tmp_path / "e" / "nodes" / "branch_1" / "saved_model.pb").is_file()
    _, err = run(
        "export", f"--basemodel={chain / 'split'}", f"--export_dir={tmp_path / 'e'}", code=1
    )
    assert "e is not empty; choose another" in err


def test_damaged_files_are_named(run, chain, tmp_path):
    grouping = tmp_path / "grouping.json"
    grouping.write_text("{")
    _, err = run(
        "split",
        *SMALL,
        f"--basemodel={chain / 'group'}",
        f"--grouping={grouping}",
        f"--train_dir={tmp_path / 'x'}",
        code=1,
    )
    assert f"Grouping file {grouping}: not valid JSON" in err
    grouping.unlink()
    model = tmp_path / "tree.keras"
    model.write_bytes((chain / "split" / "tree.keras").read_bytes()[:5000])
    _, err = run("evaluate", "--dataset=planted", f"--basemodel={model}", code=1)
    assert f"Model file {model} is refused: it is damaged" in err


@pytest.fixture(scope="module")
def counted(tmp_path_factory):
    """JSON of several calls of the cost program, by name."""
    folder = tmp_path_factory.mktemp("cost")
    calls = {f"table{n}": [f"--table={n}"] for n in (2, 3, 4)}
    calls["cuts"] = ["--model=wrn-10-1", "--suggest"]
    calls = {n: [*args, f"--output_file={n}.json"] for n, args in calls.items()}
    for name, args in calls.items():
        code, printed = run_to_end("cost", args, folder / f"{name}.out", cwd=folder)
        assert code == 0, printed[-500:]
    return {name: json.loads((folder / f"{name}.json").read_text()) for name in calls}


def test_the_tables_of_the_paper_by_name(counted):
    for table, count, exact in (("2", 5, 2), ("3", 5, 5), ("4", 4, 4)):
        rows = counted[f"table{table}"]["rows"]
        assert len(rows) == count
        for row in rows[:exact]:
            for what, unit in (("params", 1e6), ("flops", 1e9)):
                published = row["published"][what]
                assert row[what] / unit == pytest.approx(published, rel=3e-3)
        assert all(20 < row["published"]["test_error"] < 50 for row in rows)
    first = counted["table4"]["rows"][0]
    assert (first["params"], round(first["flops"] / 1e9, 3)) == (45673832, 14.038)


def test_cuts_are_suggested(counted):
    starts = [cut["start"] for cut in counted["cuts"]["cuts"]]
    assert starts[0] == "init_conv" and starts[-1] == "logits"
    assert {"unit_2", "unit_3"} <= set(starts)
    assert counted["cuts"]["refused"] == []


def test_cost_prints_json_and_a_table(run):
    out, _ = run("cost", "--model=wrn-16-8", "--splits=2-2-2", "--format=json")
    found = json.loads(out)
    assert found["params"] == {"before": 11000340, "after": 5731860}
    assert round(found["flops"]["after"] / 1e9, 2) == 2.02
    assert set(found["nodes"]) == {"trunk", "branch_0", "branch_1"}
    out, _ = run("cost", "--model=alexnet", "--splits=2-4-8")
    assert "params 62.38 -> 27.34 million (56.2% fewer)" in out


def table_5(run, folder, *devices):
    """Rows of a small Table 5 by name, each figure that can be counted checked."""
    out, _ = run(
        "benchmark",
        *("--model=wrn-10-1", "--image_size=8", "--num_classes=12", "--batch_size=4"),
        *("--batches=2", "--rows=blocks,deep shard", "--format=json", *devices),
        f"--figure={folder / 'table5.png'}",
    )
    rows = {row["name"]: row for row in json.loads(out)["rows"]}
    assert list(rows) == ["unsplit on one device", "blocks in sequence", "deep shard"]
    one, shard = rows["unsplit on one device"], rows["deep shard"]
    assert one["speed_up"] == one["bound"] == one["params_share"] == 1
    assert 2 < shard["bound"] < 4 and shard["params_share"] < 0.5
    # 8 x 8 x 16 floats of the trunk; each device reads half of the channels for all images and
    # has made half of the images itself; and the logits of 6 classes of branch 1.
    assert shard["bytes_crossing_per_image"] == 4 * (8 * 8 * 16 / 2 + 6)
    assert all(r["ms_per_image"] > 0 for r in rows.values())
    assert (folder / "table5.png").read_bytes()[:4] == b"\x89PNG"
    return rows


def test_the_paper_s_table_5(run, tmp_path):
    rows = table_5(run, tmp_path, "--devices=/CPU:0,/CPU:1")
    assert {r["peak_bytes"] for r in rows.values()} == {None}


@pytest.mark.slow  # two workers for the times, and two for the memory of each row
@pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="two workers need two cores")
def test_the_paper_s_table_5_on_workers(run, tmp_path):
    rows = table_5(run, tmp_path, "--workers=2")
    assert all(r["peak_bytes"] > 2**27 for r in rows.values())


@pytest.mark.parametrize(
    ("text", "model", "sections"),
    [
        ("2-4-4", "wrn-16-8", [("unit_2_0", 2), ("unit_3_0", 4), ("logits", 4)]),
        ("1-1-3", "alexnet", [("fc6", 1), ("fc7", 1), ("fc8", 3)]),
        ("fc6:2, fc8:4", "any", [("fc6", 2), ("fc8", 4)]),
    ],
)
def test_forms_of_splits(text, model, sections):
    assert parse_splits(text, model) == sections
