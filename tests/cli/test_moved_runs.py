"""Runs seen from another folder, moved, or with other data; which model is the unsplit one."""

import json
import shutil

import pytest

from splitnet_tf.analysis.figures import block_figure
from splitnet_tf.grouping import Grouping
from splitnet_tf.storage.json_files import read_json
from splitnet_tf.storage.models import load_model
from tests.cli.forked import run
from tests.cli.small_programs import COMMON, GROUP, SPLIT, small_model

DATA = ["--dataset=planted"]


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """Grouped and split in one folder, all paths relative to it."""
    place = tmp_path_factory.mktemp("moved")
    here = place / "here"
    here.mkdir()
    small_model(here / "small.keras")
    for name, arguments in (
        ("group", [*GROUP, "--model=small.keras", "--basemodel=small.keras", "--train_dir=runs/g"]),
        ("split", [*SPLIT, "--basemodel=runs/g", "--train_dir=runs/s", "--patience=1"]),
    ):
        code, printed = run(name, [*COMMON, *arguments], place / "out", cwd=here)
        assert code == 0, printed[-2000:]
    return place


def evaluated(place, folder, *more, cwd=None):
    code, printed = run(
        *("evaluate", [*DATA, f"--basemodel={folder}", "--format=json", *more], place / "out"),
        cwd=cwd or place,
    )
    start = printed.find("\n{\n") + 1 or printed.find("{\n")
    return code, printed, json.loads(printed[start:]) if not code else None


def test_a_run_is_not_compared_with_another_by_the_same_name(place, tmp_path):
    """Where the program is started, ``runs/g`` is another grouping."""
    small_model(tmp_path / "small.keras")
    other = [*GROUP, "--model=small.keras", "--train_dir=runs/g"]
    other += ["--warmup_epochs=0", "--max_steps=3"]
    code, printed = run("group", [*COMMON, *other], tmp_path / "out", cwd=tmp_path)
    assert code == 0, printed[-2000:]
    split = place / "here" / "runs" / "s"
    found = evaluated(place, split, cwd=tmp_path)[2]
    assert found["unsplit"]["model"] == f"{place}/here/runs/g/grouped.keras"
    shutil.copytree(split, tmp_path / "apart" / "s")
    code, printed, found = evaluated(place, tmp_path / "apart" / "s", cwd=tmp_path)
    assert code == 0 and "what is there now is another model; it is not compared" in printed
    assert "unsplit" not in found


def test_a_grouping_is_not_compared_with_what_it_started_from(place, tmp_path):
    group = place / "here" / "runs" / "g"
    code, printed, found = evaluated(place, group, f"--figure={tmp_path / 'found.png'}")
    assert code == 0, printed[-2000:]
    assert "unsplit" not in found and found["model"]["model"] == str(group / "grouped.keras")
    model, grouping = load_model(group / "grouped.keras"), Grouping.load(group / "grouping.json")
    block_figure(model, grouping, tmp_path / "own.png")
    assert (tmp_path / "found.png").read_bytes() == (tmp_path / "own.png").read_bytes()


def test_a_run_is_evaluated_and_resumed_from_another_folder(place):
    code, printed, found = evaluated(place, place / "here" / "runs" / "s", "--bfloat16")
    assert code == 0, printed[-2000:]
    assert found["split_bfloat16"]["bfloat16"] and "unsplit_bfloat16" in found
    assert found["unsplit"]["model"].endswith("here/runs/g/grouped.keras")
    folders = [f"--{n}={place}/here/runs/{f}" for n, f in (("basemodel", "g"), ("train_dir", "s"))]
    code, printed = run(
        "split", [*COMMON, *SPLIT, *folders, "--patience=1"], place / "out", cwd=place
    )
    assert code == 0, printed[-2000:]


def test_patience_reports_what_was_kept(place):
    result = read_json(place / "here" / "runs" / "s" / "result.json")
    code, printed, found = evaluated(place, place / "here" / "runs" / "s", "--images=valid")
    assert code == 0, printed[-2000:]
    assert found["split"]["top1"] == pytest.approx(result["valid_accuracy"], abs=1e-6)


def test_planted_data_of_another_seed_is_refused(place):
    sentence = "grouping.json groups 8 classes group"
    code, printed, _ = evaluated(place, place / "here" / "runs" / "s", "--seed=1")
    assert code == 1 and sentence in printed and "planted data with the same --seed" in printed
    folders = [f"--basemodel={place}/here/runs/g", f"--train_dir={place}/other"]
    code, printed = run("split", [*COMMON, *SPLIT, *folders, "--seed=1"], place / "out", cwd=place)
    assert code == 1 and sentence in printed


def test_a_moved_run_without_its_base_is_evaluated_alone(place):
    (place / "away").mkdir()
    (place / "here" / "runs" / "g").rename(place / "away" / "renamed")
    moved = (place / "here" / "runs" / "s").rename(place / "away" / "s")
    code, printed, found = evaluated(place, moved)
    assert code == 0 and "runs/g, which is not there to compare with" in printed
    assert "unsplit" not in found and found["split"]["top1"] > 0
