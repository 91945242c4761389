"""Rows of the tables: trained once, gone on with, and what they say."""

import dataclasses
import re
import subprocess
import sys

import numpy as np
import pytest

from experiments import recipe as recipes
from experiments.row import Row
from experiments.run import run_row
from experiments.sweep import sweep_rows
from experiments.table2 import table2_rows
from experiments.teacher import ROWS, teacher_rows
from experiments.variants import SWEEPS, varied
from splitnet_tf.data import planted_groups, save_arrays
from splitnet_tf.grouping import Grouping
from splitnet_tf.splitting import split_model
from splitnet_tf.storage.json_files import read_json, write_json
from splitnet_tf.storage.models import load_model
from tests.cli.forked import run_programs
from tests.conftest import ROOT, to_numpy
from tests.preprocessed import whitened

RECIPE = dataclasses.replace(recipes.SCALES["smoke"], width=0.25, batch_size=32)


@pytest.fixture(scope="module")
def data():
    return planted_groups((2,), num_train=160, num_valid=48, num_test=48)


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    return tmp_path_factory.mktemp("runs")


@pytest.fixture(scope="module")
def tree(data, runs):
    return run_row(Row("smoke", "deep"), RECIPE, data, runs)


def folder_in(runs, row="deep-learned-seed0"):
    (found,) = (
        p for p in (runs / "smoke").iterdir() if re.fullmatch(f"{row}-[0-9a-f]{{8}}", p.name)
    )
    return found


def error_of(model, split):
    logits = to_numpy(model(whitened(split.images), training=False))
    return 1 - np.mean(logits.argmax(1) == split.labels)


def test_a_tree_is_trained_cut_and_finetuned(tree, data, runs):
    folder = folder_in(runs)
    model = load_model(folder / "tree.keras")
    assert tree["error"] == pytest.approx(error_of(model, data.test))
    assert tree["valid_error"] == pytest.approx(error_of(model, data.valid))
    grouping = Grouping.load(folder / "grouping.json")
    assert tree["sizes"] == [len(m) for m in grouping.classes.members] and sum(tree["sizes"]) == 8
    kernels = [w for w in model.weights if w.path.endswith("kernel")]
    biases = [w for w in model.weights if "dense" in w.path or "logits" in w.path]
    expected = sum(np.prod(w.shape) for w in kernels)
    expected += sum(np.prod(w.shape) for w in biases if w.path.endswith("bias"))
    assert tree["params"] == expected
    start = read_json(folder / "start.json")["groups"]
    classes = start[grouping.class_space]
    assert tree["moved"]["classes"] == np.mean(classes != grouping.classes.labels())
    assert set(start) == {s.name for s in grouping.spaces} and 0 <= tree["moved"]["features"] <= 1
    assert set(tree["seconds"]) == {"group", "finetune"}
    assert tree["backend"] and tree["device"] and tree["recipe"] == recipes.recipe_document(RECIPE)


def test_stages_are_those_of_the_network_before_and_after_the_cut(tree, data, runs):
    folder = folder_in(runs)
    grouped = load_model(folder / "grouped.keras")
    cut = split_model(grouped, Grouping.load(folder / "grouping.json")).model
    for stage, model in (("before", grouped), ("after_cut", cut)):
        for kind, split in (("error", data.test), ("valid_error", data.valid)):
            assert tree[f"{kind}_{stage}"] == pytest.approx(error_of(model, split), abs=0.03)
        # Statistics of all training images at once: near those of the batches.
        images = whitened(data.train.images)
        for _ in range(40):  # moving averages come to rest
            model(images, training=True)
        error = error_of(model, data.test)
        assert tree[f"error_{stage}_recalibrated"] == pytest.approx(error, abs=0.1)


def test_gamma1_grows_while_grouping(tree, runs):
    strength = load_model(folder_in(runs) / "grouped.keras")
    found = [w for w in strength.weights if w.path.endswith("strength")]
    # The last two fifths of the steps have all of the growth.
    np.testing.assert_allclose(found[0], [RECIPE.group.gamma1_growth, 1, 1], rtol=1e-6)


def test_a_finished_row_is_not_trained_again(tree, data, runs):
    path = folder_in(runs) / "row.json"
    before = path.stat().st_mtime_ns
    renamed = dataclasses.replace(data, name="small")  # as a file may be called
    assert run_row(Row("smoke", "deep"), RECIPE, renamed, runs) == tree
    assert path.stat().st_mtime_ns == before


def test_the_plain_phase_is_shared(tree, data, runs):
    (plain,) = (p for p in (runs / "smoke").iterdir() if p.name.startswith("plain-"))
    written = (plain / "plain.keras").stat().st_mtime_ns
    found = run_row(Row("smoke", "baseline"), RECIPE, data, runs)
    assert (plain / "plain.keras").stat().st_mtime_ns == written
    assert found["params"] > tree["params"] and "sizes" not in found


def test_a_sweep_keeps_the_epochs():
    for base in recipes.SCALES.values():
        for name in ("plain.epochs", "group.epochs"):
            for value in SWEEPS[name]:
                found = varied(base, name, value)
                total = [r.plain.epochs + r.group.epochs + r.finetune.epochs for r in (base, found)]
                assert total[0] == total[1]
                assert found.plain.epochs + found.baseline.epochs == total[0]
    changed = varied(recipes.SCALES["sweep"], "finetune.l2", 0.0)
    assert changed.finetune.l2 == 0.0 and changed.group.l2 == recipes.SCALES["sweep"].group.l2
    assert varied(recipes.SCALES["sweep"], "pace", 1).group.pace == 1
    base = recipes.SCALES["sweep"]
    longer = varied(base, "longer", 2)
    for phase in recipes.PHASES:
        assert getattr(longer, phase).epochs == 2 * getattr(base, phase).epochs
    dropped = varied(recipes.SCALES["paper"], "longer", 2).group
    assert (dropped.epochs, dropped.drops) == (800, (480, 600))
    assert dataclasses.replace(longer, **{p: getattr(base, p) for p in recipes.PHASES}) == base


@pytest.mark.parametrize("scale", sorted(recipes.SCALES))
def test_baseline_and_tree_have_the_same_epochs(scale):
    found = recipes.SCALES[scale]
    assert found.baseline.epochs == found.group.epochs + found.finetune.epochs


ASKED = [
    (table2_rows("sweep", [0, 3], ["baseline", "slim"]), {"baseline", "slim"}),
    (
        sweep_rows("sweep", [0, 3], ["pace"]),
        {"baseline", "slim", "deep-learned", "deep-learned-pace=1", "deep-learned-pace=32"},
    ),
    (
        sweep_rows("sweep", [0, 3], ["width"]),
        {
            f"{name}{variant}"
            for name in ("baseline", "slim", "deep-learned")
            for variant in ("", "-width=2", "-width=4")
        },
    ),
]


@pytest.mark.parametrize(("asked", "expected"), ASKED)
def test_programs_ask_for_each_row_with_each_seed(asked, expected):
    names = [row.name for row, _ in asked]
    assert len(names) == len(set(names))
    assert set(names) == {f"{name}-seed{s}" for name in expected for s in (0, 3)}
    for row, recipe in asked:
        setting, _, value = row.variant.partition("=")
        changed = recipes.SCALES["sweep"]
        if setting:
            changed = recipes.with_value(changed, setting, float(value))
        assert recipe == changed


def test_rows_of_teachers_change_what_their_name_says():
    asked = teacher_rows("wrn-10-2", [1], list(ROWS))
    assert len({row.name for row, _ in asked}) == len(asked) == len(ROWS)
    usual = recipes.SCALES["wrn-10-2"]
    found = {row.variant: recipe for row, recipe in asked}
    expected = {
        "": usual,
        "teacher": dataclasses.replace(usual, teacher="wrn-16-4"),
        "half-teacher": dataclasses.replace(usual, teacher="wrn-16-4", teacher_weight=0.5),
        "groups": dataclasses.replace(usual, group_loss=0.5),
        "classes-worst": dataclasses.replace(usual, classes="worst"),
        "gates": dataclasses.replace(usual, gates=True),
    }
    assert {name: found[name] for name in expected} == expected
    assert found["exchange"].group.assignment_start == "exchange"


PROGRAMS = {
    "table2": ["--rows=baseline,deep"],
    "sweep": ["--settings=method,longer"],
    "teacher": ["--rows=tree,tree-teacher-groups,tree-classes-random"],
}
MADE = {"deep-learned-teacher-groups", "deep-learned-classes-random"}
MADE |= {"baseline", "slim", "deep-learned", "deep-learned-method=balanced"} | {
    f"{name}-longer={times}" for name in ("baseline", "slim", "deep-learned") for times in (2, 4)
}  # by all of them; they share some


def run_tables(folder, data, programs, start=("-m",), env=()):
    save_arrays(data, folder / "small.npz")
    for program, more in programs.items():
        command = [
            *(sys.executable, *start, f"experiments.{program}", "--scale=smoke", "--seeds=0"),
            *(f"--data={folder / 'small.npz'}", f"--runs={folder}", *more),
        ]
        found = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, env=env or None)
        assert found.returncode == 0, found.stderr
        assert "deep-learned-seed0" in found.stdout
    return found.stdout


def rows_in(folder):
    found = [p.parent.name.rpartition("-seed0-")[0] for p in folder.glob("smoke/*/row.json")]
    assert len(found) == len(set(found))
    return set(found)


@pytest.mark.slow  # a dozen networks are trained
def test_the_programs_at_smoke_scale(data, tmp_path):
    out = run_tables(tmp_path, data, PROGRAMS)
    assert "deep-learned-classes-random-seed0" in out
    assert rows_in(tmp_path) == MADE


@pytest.mark.slow  # the benchmark starts workers
def test_table_5_at_smoke_scale(tmp_path):
    command = [sys.executable, "-m", "experiments.table5", "--scale=smoke", f"--runs={tmp_path}"]
    found = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert found.returncode == 0, found.stderr
    path = tmp_path / "smoke" / "table5" / "table5.json"
    document = read_json(path)
    assert "splitnet_tf.cli.benchmark --model=wrn-10-1" in document["command"]
    one, split = document["rows"]
    assert (one["name"], split["name"]) == ("unsplit on one device", "deep replicate")
    assert split["params_share"] < 0.6 and split["speed_up"] > 0
    assert "'--rows=deep replicate'" in document["command"]
    written = path.stat().st_mtime_ns
    assert subprocess.run(command, cwd=ROOT, capture_output=True).returncode == 0
    assert path.stat().st_mtime_ns == written


@pytest.mark.slow  # JAX compiles every model anew
@pytest.mark.timeout(1800)
def test_the_programs_without_tensorflow(data, tmp_path):
    pytest.importorskip("jax", reason="JAX is not installed")
    program = tmp_path / "blocked.py"
    program.write_text(
        "import runpy, sys\n"
        "sys.modules['tensorflow'] = None\n"
        "sys.path.insert(0, '.')\n"
        "name = sys.argv.pop(1)\n"
        "runpy.run_module(name, run_name='__main__', alter_sys=True)\n"
    )
    env = {"KERAS_BACKEND": "jax", "PATH": "/usr/bin", "HOME": str(tmp_path)}
    run_tables(tmp_path, data, PROGRAMS, start=(str(program),), env=env)
    assert rows_in(tmp_path) == MADE
    documents = [read_json(path) for path in tmp_path.glob("smoke/*/row.json")]
    assert {d["backend"] for d in documents} == {"jax"}


WRONG = [
    ("table2", ["--data=faces"], 1, "--data=faces: `dataset=faces` cannot be opened"),
    ("table2", ["--data=own.npz", "--data_dir=d"], 2, "--data_dir is for cifar100"),
    ("table2", ["--rows=deep,deep"], 2, "--rows must be among baseline, slim, fc, shallow, deep"),
    ("table2", ["--rows=wide"], 2, "got ['wide']"),
    ("table2", ["--seeds=1,1"], 2, "--seeds must name one or more, each once"),
    ("sweep", ["--settings=luck"], 2, "--settings must be among plain.epochs"),
    ("table2", ["--scale=huge"], 2, "--scale=huge"),
    ("table2", ["--data=none.npz", "--scale=smoke"], 1, "none.npz does not exist"),
    ("results", ["--runs=damaged"], 1, "row.json cannot be read: it was changed"),
    ("results", ["--runs=none"], 2, "--runs: there is no folder none"),
]


def test_wrong_input_is_one_sentence(tmp_path):
    own = planted_groups((2,), num_train=16, num_valid=8, num_test=8)
    save_arrays(own, tmp_path / "own.npz")
    path = tmp_path / "damaged" / "small" / "deep-learned-seed1-01234567" / "row.json"
    write_json(path, {"error": 0.5})
    path.write_text(path.read_text().replace("0.5", "0.4"))
    commands = [(f"experiments.{name}", ["--runs=r", *flags]) for name, flags, *_ in WRONG]
    found = run_programs(commands, tmp_path)
    for (name, flags, code, sentence), (got, err) in zip(WRONG, found, strict=True):
        assert got == code and sentence in err and "Traceback" not in err, (name, flags, err)
