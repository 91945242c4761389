"""Reports of whole, half-finished, damaged and hostile run folders."""

import dataclasses
import functools
import itertools
import json
import re
import shutil
import subprocess
import time

import keras
import numpy as np
import pytest
from keras import layers
from markupsafe import Markup
from sklearn.metrics import normalized_mutual_info_score

from splitnet_tf.analysis import agreement
from splitnet_tf.errors import RunError
from splitnet_tf.grouping import Grouping
from splitnet_tf.report import make_report
from splitnet_tf.report.pictures import Picture
from splitnet_tf.report.runs import read_runs
from splitnet_tf.storage.json_files import read_json, write_json
from tests.report.folders import CLASSES, confusion, make_run, small_model, write_lines
from tests.report.html_page import Page


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A finished run: its folder, grouped model, grouping and tree."""
    folder = tmp_path_factory.mktemp("made")
    return folder, *make_run(folder)


@pytest.fixture(scope="module")
def whole(made):
    return make_report([made[0] / "split"])


@pytest.fixture
def folder(made, tmp_path):
    """A copy of the run to break."""
    shutil.copytree(made[0], tmp_path / "run")
    base = tmp_path / "run" / "group"
    config = read_json(tmp_path / "run" / "split" / "config.json")
    write_json(tmp_path / "run" / "split" / "config.json", {**config, "basemodel": str(base)})
    return tmp_path / "run"


@pytest.fixture
def no_pictures(monkeypatch):
    """Drawing and two hundred random groupings take longer than all else."""
    few = functools.partial(agreement, draws=3)
    monkeypatch.setattr("splitnet_tf.report.classes.agreement", few)
    none = Picture(Markup("<svg></svg>"), "none")
    for module in ("split_page", "confusions", "page", "training", "sparse_page"):
        monkeypatch.setattr(f"splitnet_tf.report.{module}.picture", lambda *_: none)


def test_the_page_is_whole_and_needs_no_other(whole):
    page = Page(whole)
    assert page.tags.count("svg") == 6 and "img" not in page.tags
    assert "Missing" not in page.text and 'class="missing"' not in whole
    assert "prefers-color-scheme: dark" in whole and "@media print" in whole


def test_the_same_files_give_the_same_page(made, whole):
    assert make_report([made[0] / "split", made[0] / "group"]) == whole


def test_costs_are_those_counted_by_hand(made, whole):
    _, grouped, grouping, tree = made
    text = Page(whole).text
    conv1, conv2, dense = 3 * 3 * 3 * 8, 3 * 3 * 8 * 16, 16 * 12 + 12
    before = conv1 + conv2 + dense
    parts = [
        w for node in tree.nodes() for w in node.model.weights if w.path.split("/")[-1] == "kernel"
    ]
    after = sum(int(np.prod(w.shape)) for w in parts) + 12
    assert f"Parameters {before:,} {after:,} −{100 * (1 - after / before):.1f}%" in text
    flops = 2 * conv1 * 6 * 6 + 2 * conv2 * 4 * 4 + 2 * 16 * 12 + 12
    assert f"FLOPs for an image {flops:,} " in text
    assert "Time for an image, one device (ms) 4.000 3.000 −25.0%" in text
    first, last = (np.trace(m) / m.sum() for m in (confusion(12, 0), confusion(12, 1)))
    assert f"Test accuracy {100 * first:.2f}% {100 * last:.2f}%" in text
    assert "right after the cut 21.00%, batch norm re-estimated 31.00%" in text


def test_the_tree_names_every_class_in_its_branch(made, whole):
    _, _, grouping, _ = made
    page = Page(whole)
    for group, name in enumerate(("branch_0_0", "branch_0_1", "branch_1_0", "branch_1_1")):
        members = grouping.classes.members[group]
        after = page.text.split(f"{name} {len(members)} classes,")[1]
        shown = after.split("branch_")[0].split("Groups decided")[0]
        assert all(CLASSES[c] in shown for c in members)
        assert sum(c in shown for c in CLASSES) == len(members)


def test_agreement_is_with_the_planted_groups(made, whole):
    labels = made[2].classes.labels()
    planted = np.repeat(np.arange(4), 3)
    nmi = normalized_mutual_info_score(planted, labels)
    purity = sum(np.bincount(planted[labels == g]).max() for g in range(4)) / 12
    text = Page(whole).text
    assert f"Normalized mutual information (NMI) {nmi:.3f} " in text
    assert f"Purity {purity:.3f} " in text


def test_confusions_are_counted_within_groups_of_every_level(made, whole):
    labels, matrix = made[2].classes.labels(), confusion(12, 1)
    text = Page(whole).text
    for groups, of_level in ((2, labels // 2), (4, labels)):
        within = errors = chance = 0
        for i in range(12):
            for j in range(12):
                if i != j:
                    errors += matrix[i, j]
                    within += matrix[i, j] * (of_level[i] == of_level[j])
                    chance += (
                        sum(matrix[i, k] for k in range(12) if k != i)
                        / 11
                        * (of_level[i] == of_level[j])
                    )
        row = f"{groups} {errors} {100 * within / errors:.1f}% {100 - 100 * within / errors:.1f}%"
        assert f"{row} {100 * chance / errors:.1f}%" in text


def test_nodes_and_commands(made, whole):
    text = Page(whole).text
    for name, params in (("trunk", 3 * 3 * 3 * 8), ("head", 0)):
        assert f"{name} {params} " in text
    assert "2 devices, trunk: shard" in text and "4 devices, trunk: replicate" in text
    assert "python -m splitnet_tf.cli.group --dataset=planted-2-2 --seed=3" in text
    assert "--lr_step_epoch=80,120" in text and "--recalibrate_batches=7" in text
    assert "--base_digest" not in text and "--restart" not in text
    assert "group.keras was saved" not in text and "saved with Keras " in text


def test_several_runs_and_gamma3(made, folder, no_pictures):
    other = folder.parent / "other"
    make_run(other, gamma3=0.1)
    (other / "group" / "grouping.json").unlink()  # what an empty group leaves: a log alone
    (other / "split" / "grouping.json").unlink()
    page = Page(make_report([made[0] / "split", other / "group", folder / "split"]))
    assert "3 runs" in page.text and "What gamma_3 does" in page.text
    sizes = "/".join(str(len(m)) for m in made[2].classes.members)
    assert f"0.1 2 {sizes}" in page.text and f"10 1 {sizes}" in page.text
    same = Page(make_report([made[0] / "split", folder / "split"]))
    assert "What gamma_3 does" not in same.text


def test_a_split_finds_its_grouping(folder, tmp_path):
    (run,) = read_runs([folder / "split"])
    assert run.group.path == folder / "group" and run.notes == ()
    (run,) = read_runs([folder / "group", folder / "split"])
    assert run.path == folder / "split"
    moved = folder.rename(tmp_path / "moved")
    (run,) = read_runs([moved / "split"])
    assert run.group.path == moved / "group"
    assert run.notes == (
        f"The grouping is taken from {moved / 'group'}; the split was made of {folder / 'group'}.",
    )
    labels = np.arange(12) % 4
    found = Grouping.load(moved / "group" / "grouping.json")
    classes = dataclasses.replace(found.classes.from_labels(found.class_space, labels, 4))
    others = tuple(s for s in found.spaces if s.name != found.class_space)
    dataclasses.replace(found, spaces=(*others, classes)).save(moved / "group" / "grouping.json")
    (run,) = read_runs([moved / "split"])
    assert "has other groups than" in run.notes[1]
    shutil.rmtree(moved / "group")
    (run,) = read_runs([moved / "split"])
    assert run.group is None and "is not there" in run.notes[0]


def test_a_grouping_of_another_run_by_the_same_name_is_passed_over(folder, tmp_path, monkeypatch):
    make_run(tmp_path / "here", small_model(12, seed=5))
    config = read_json(folder / "split" / "config.json")
    write_json(folder / "split" / "config.json", {**config, "basemodel": "group"})
    monkeypatch.chdir(tmp_path / "here")
    (run,) = read_runs([folder / "split"])
    assert run.group.path == folder / "group"
    shutil.rmtree(folder / "group")
    (run,) = read_runs([folder / "split"])
    assert run.group is None and "group, is not there as it was" in run.notes[0]


def test_no_run_folder_is_an_error(tmp_path):
    with pytest.raises(RunError, match="is not a run folder: it has no config.json"):
        make_report([tmp_path])
    with pytest.raises(RunError, match="needs one run folder or more"):
        make_report([])


FILES = [
    f"group/{name}"
    for name in ("grouped.keras", "grouping.json", "result.json", "metrics.jsonl", "timing.jsonl")
]
# Files that a run lacks, and what is said instead.
UNFINISHED = [
    (["split"], "The run has not been split yet"),
    (["split/evaluation.json"], "evaluation.json is not there: the run has not been evaluated"),
    (["split/tree.keras", "split/result.json", "split/evaluation.json"], "not finished, the log"),
    (["split/tree.keras", "split/cut.keras"], "has no tree yet"),
    (["group"], "is not there"),
    (["split", "group/grouped.keras", "group/grouping.json", "group/result.json"], "log ends at"),
    (["split", *FILES], "has not logged anything yet"),
]


@pytest.mark.parametrize("missing, sentence", UNFINISHED)
def test_half_finished_runs(folder, missing, sentence, no_pictures):
    for name in missing:
        path = folder / name
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    page = Page(make_report([folder / ("group" if "split" in missing else "split")]))
    assert sentence in page.text


DAMAGED = [
    ("group/config.json", "group/config.json: not valid JSON"),
    ("group/result.json", "group/result.json: not valid JSON"),
    ("group/grouping.json", "split 2-4 into"),  # the split has it too
    ("split/grouping.json", "split 2-4 into"),
    ("group/metrics.jsonl", "damaged lines, which are left out; 2 are readable"),
    ("group/grouped.keras", "group/grouped.keras"),
    ("split/tree.keras", "split/tree.keras"),
    ("split/evaluation.json", "split/evaluation.json: not valid JSON"),
    ("split/config.json", "The grouping that this split was made of is not known"),
]


@pytest.mark.parametrize("name, sentence", DAMAGED)
def test_damaged_files(folder, name, sentence, no_pictures):
    content = (folder / name).read_bytes()
    (folder / name).write_bytes(content[: int(0.8 * len(content))])
    assert sentence in Page(make_report([folder / "split"])).text


@pytest.mark.parametrize(("units", "width", "name"), [(1, 2, "wrn-10-2"), (16, 8, "wrn-100-8")])
def test_a_plain_run_by_units_and_width_has_a_name(tmp_path, units, width, name, no_pictures):
    folder = tmp_path / "plain"
    folder.mkdir()
    config = {"dataset": "planted", "model": None, "num_residual_units": units, "k": width}
    write_json(folder / "config.json", config)
    write_lines(folder / "metrics.jsonl", [{"step": 5, "train/accuracy": 0.5}])
    assert f"{name} on planted" in Page(make_report([folder])).text


def test_an_evaluation_of_other_images_is_left_out(folder, no_pictures):
    path = folder / "split" / "evaluation.json"
    found = read_json(path)
    write_json(path, {**found, "images": "train"})
    text = Page(make_report([folder / "split"])).text
    sentence = f"{path} is of train images, not of the test images. This command measures them: "
    assert f"{sentence}python -m splitnet_tf.cli.evaluate" in text
    assert "Top-5 accuracy" not in text and "Most frequent confusions" not in text


NASTY = [None, True, "x", "<b>", [], {}, -1, 1e308, 10**400, [[1]], [[1, "x"], [2]], {"a": {}}]


@pytest.mark.parametrize("name", ["group/config", "group/result", "split/result", "evaluation"])
def test_numbers_of_any_kind_give_no_traceback(folder, name, no_pictures):
    for file in ("group/grouped.keras", "split/tree.keras", "split/cut.keras"):
        (folder / file).unlink()  # counting models takes longer than all else
    path = folder / ("split/evaluation.json" if name == "evaluation" else f"{name}.json")
    document = read_json(path)
    for first in range(0, len(NASTY), 3):
        values = itertools.cycle(NASTY[first:] + NASTY[:first])
        wrong = dict(zip(document, values, strict=False))
        inner = {
            k: dict(zip(v, values, strict=False)) if isinstance(v, dict) else v
            for k, v in document.items()
        }
        for nasty in (wrong, inner) if inner != document else (wrong,):
            write_json(path, nasty)
            Page(make_report([folder / "split"]))


def test_logs_with_any_numbers_are_drawn(folder):
    lines = (folder / "group" / "metrics.jsonl").read_text().splitlines()
    entries = [json.loads(line) for line in lines]
    wild = [1e308, -1e308, 0, 10**400, "x", None, True, float("nan"), float("inf"), -5, [1], {}]
    keys = [key for key in entries[0] if key != "step"]
    for i, value in enumerate(wild):
        entries.append({"step": 20 + i, **{key: value for key in keys}})
    entries.append({"step": 2**63 - 1, "largest_p/\ud800<b>$x_2$": 0.5, "group_size/a/b": 3})
    text = "".join(json.dumps(e) + "\n" for e in entries)
    (folder / "group" / "metrics.jsonl").write_text(text)
    page = make_report([folder / "split"])
    assert "&lt;b&gt;$x_2$" in page and "<b>" not in page
    Page(page)


def test_what_files_say_is_escaped(tmp_path, no_pictures):
    bad = "</style><script>alert(1)</script><img src=x onerror=y>&amp;$\\frac$"
    folder = tmp_path / "<script>alert(2)<" / "run"
    make_run(folder, names=[f"{bad}{i}" for i in range(12)])
    config = read_json(folder / "group" / "config.json")
    write_json(folder / "group" / "config.json", {**config, "model": bad, bad: bad, "dataset": bad})
    result = read_json(folder / "group" / "result.json")
    write_json(folder / "group" / "result.json", {**result, "stopped": bad})
    content = make_report([folder / "split"])
    page = Page(content)
    assert "<script" not in content and "<img" not in content
    assert f"{bad}7" in page.text and f"{bad} on {bad}" in page.text
    assert f"{folder / 'split'}" in page.text


def a_thousand_classes(folder):
    inputs = keras.Input((32,))
    x = layers.Dense(160, activation="relu", name="hidden")(inputs)
    model = keras.Model(inputs, layers.Dense(1000, name="logits")(x), name="wide")
    names = [f"class number {i}, with a name as long as those of ImageNet are" for i in range(1000)]
    sections = [("hidden", 5), ("logits", 40)]
    make_run(folder, model, sections, names, steps=range(0, 200_000, 400))


def test_a_thousand_classes(tmp_path):
    a_thousand_classes(tmp_path)
    begin = time.process_time()
    content = make_report([tmp_path / "split"])
    spent = time.process_time() - begin
    assert len(content.encode()) < 1_500_000 and spent < 60
    page = Page(content)
    assert page.tags.count("td") < 1000
    assert "1,000 classes" in page.text and "split 5-40 into 40 groups" in page.text
    assert all(f" {i}, with" in page.text for i in range(1000))


@pytest.mark.slow  # the clock of a browser
def test_a_thousand_classes_open_in_a_browser(tmp_path):
    browser = shutil.which("chromium") or pytest.skip("there is no chromium on the PATH")
    a_thousand_classes(tmp_path)
    content = make_report([tmp_path / "split"])
    clock = "performance.getEntriesByType('navigation')[0].loadEventEnd"
    asked = f"setTimeout(() => document.body.dataset.loaded = {clock})"
    content += f"<script>addEventListener('load', () => {asked})</script>"
    (tmp_path / "report.html").write_text(content, encoding="utf-8")
    seconds = []
    for _ in range(3):
        done = subprocess.run(
            [
                *(browser, "--headless", "--no-sandbox", "--disable-gpu", "--dump-dom"),
                (tmp_path / "report.html").as_uri(),
            ],
            capture_output=True,
            text=True,
            timeout=120,
        )
        (found,) = re.findall(r'data-loaded="([0-9.]+)"', done.stdout)
        seconds.append(float(found) / 1000)
    print(f"loaded in {', '.join(f'{s:.2f}' for s in seconds)} s, {len(content.encode()):,} bytes")
    assert min(seconds) < 2
