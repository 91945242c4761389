"""Every page is right: its Python runs, its commands parse, its flags, links and pictures exist."""

import os
import re
import shlex
import subprocess
from pathlib import Path

import keras
import pytest
from keras import layers

import splitnet_tf as sn
from splitnet_tf.cli.program_flags import flags_of
from splitnet_tf.data import load_dataset, planted_groups
from splitnet_tf.report.runs import read_runs
from tests.cli.forked import run_programs
from tests.conftest import ROOT
from tests.data.small_pictures import make_folder
from tests.flags_page import PROGRAMS, flags_page
from tests.test_architecture import MAY_IMPORT

FILES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
PAGES = {str(file.relative_to(ROOT)): file.read_text(encoding="utf-8") for file in FILES}
MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")
# Commands of other programs than ours.
FOREIGN = ("pip install .", ". .venv/bin/activate", "tensorboard --logdir=runs")
CLASSES = 8


def blocks(language, text):
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.S | re.M)


def anchor(heading):
    """As GitHub makes one of a heading."""
    return re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-")


def own_model(softmax):
    """A small classifier with the layer names of the pages."""
    inputs = x = keras.Input((16, 16, 3))
    for block, filters in ((3, 8), (4, 12), (5, 16)):
        x = layers.Conv2D(filters, 3, padding="same", name=f"block{block}_conv")(x)
        x = layers.BatchNormalization(name=f"block{block}_bn")(x)
        x = layers.MaxPooling2D(name=f"block{block}_pool")(layers.ReLU()(x))
    x = layers.GlobalAveragePooling2D()(x)
    activation = "softmax" if softmax else None
    return keras.Model(inputs, layers.Dense(CLASSES, activation, name="predictions")(x))


@pytest.fixture
def run_page(tmp_path, monkeypatch):
    """A function that runs the blocks of a page in one namespace, in an empty folder."""
    monkeypatch.chdir(tmp_path)

    def run(page, **names):
        code = "\n".join(blocks("python", PAGES[page])).replace("/GPU:", "/CPU:")
        exec(compile(code, page, "exec"), names)
        return names

    yield run
    keras.config.set_dtype_policy("float32")


@pytest.fixture(scope="module")
def images():
    """Arrays by the names that the pages give them."""
    dataset = planted_groups((2,), CLASSES // 2, num_train=256, num_valid=64, num_test=64)
    found = {"class_names": dataset.class_names}
    for name in ("train", "valid", "test"):
        split = getattr(dataset, name)
        found[f"{name}_images"], found[f"y_{name}"] = split.images, split.labels
        found[f"x_{name}"] = split.images.astype("float32") / 255
    return found


def test_the_readme_runs(run_page, images, capsys, tmp_path):
    own_model(softmax=True).save("mine.keras")
    data = {s: (images[f"x_{s}"], images[f"y_{s}"]) for s in ("train", "valid", "test")}
    found = run_page("README.md", **data)
    assert [n.name for n in found["tree"].nodes()] == ["trunk", "branch_0", "branch_1", "head"]
    assert len(found["placed"].placement.devices) == 2
    assert sn.SplitTree.load("tree.keras") is not None
    for name in ("group/grouping.json", "split/tree.keras", "split/result.json"):
        assert (tmp_path / "runs" / name).is_file()
    assert "Block-diagonal kernels" in (tmp_path / "report.html").read_text()
    printed = capsys.readouterr().out
    assert "block5_conv" in printed and "group 1" in printed


def test_the_page_on_python_runs(run_page, images, capsys):
    found = run_page("docs/python.md", model=own_model(softmax=False), **images)
    assert found["tree"].model.count_params() < found["model"].count_params()
    assert "['trunk', 'branch_0', 'branch_0_0'" in capsys.readouterr().out
    # The report knows by its digest which grouping the split was made of, and names no program.
    assert len(read_runs(["runs/group", "runs/split"])) == 1
    assert "Made from Python" in Path("report.html").read_text()


def test_the_page_on_models_runs(run_page, capsys):
    run_page("docs/models.md")
    assert "layer  kernel  groups" in capsys.readouterr().out


def test_the_page_on_security_runs(run_page):
    own_model(softmax=True).save("mine.keras")
    assert run_page("docs/security.md")["model"].count_params() > 0


def test_the_page_on_teachers_runs(run_page, images):
    data = {s: (images[f"x_{s}"], images[f"y_{s}"]) for s in ("train", "valid", "test")}
    model = own_model(softmax=False)
    plan = sn.SplitPlan.from_sections(model, [("block4_conv", 2)])
    grouped, grouping = sn.group_model(model, plan), sn.Grouping.even(plan)
    found = run_page("docs/teachers.md", model=model, grouped=grouped, grouping=grouping, **data)
    assert "accuracy" in found["tree"].model.history.history


def test_the_page_on_data_runs(run_page, images, capsys):
    make_folder("pictures", {"train": 12, "val": 2})
    run_page("docs/data.md", model=own_model(softmax=False), **images)
    assert f"(64, {CLASSES})" in capsys.readouterr().out
    assert load_dataset("mine.npz").class_names == images["class_names"]


@pytest.mark.slow
def test_the_page_on_the_search_runs(run_page, images, capsys):
    train = images["x_train"][:64], images["y_train"][:64]
    valid = images["x_valid"], images["y_valid"]
    run_page("docs/search.md", model=own_model(softmax=False), train=train, valid=valid)
    assert "cut from" in capsys.readouterr().out and Path("search.png").is_file()


def test_the_page_on_sparsity_runs(run_page, images, capsys):
    data = {s: (images[f"x_{s}"], images[f"y_{s}"]) for s in ("train", "valid", "test")}
    found = run_page("docs/sparsity.md", model=own_model(softmax=False), **data)
    assert found["done"].model.count_params() <= found["model"].count_params()
    assert "Groups at zero" in capsys.readouterr().out
    # By its digest the report knows the training that the shrink was made of.
    assert "Layers before and after" in Path("report.html").read_text()


def test_the_page_on_blocks_runs(run_page, images, capsys):
    data = {s: (images[f"x_{s}"], images[f"y_{s}"]) for s in ("train", "valid", "test")}
    found = run_page("docs/blocks.md", model=own_model(softmax=False), **data)
    printed = capsys.readouterr().out
    assert "Bytes between devices for an example" in printed and "part_1_0" in printed
    loaded = keras.models.load_model("divided.keras")
    assert sn.DividedModel(loaded).bytes_crossing == found["divided"].bytes_crossing


def test_no_page_with_python_is_forgotten():
    pages = {page for page, text in PAGES.items() if blocks("python", text)}
    names = ("blocks", "data", "python", "models", "search", "security", "sparsity", "teachers")
    assert pages == {"README.md", *(f"docs/{name}.md" for name in names)}


def commands():
    """(page, command) of every line of every shell block."""
    for page, text in PAGES.items():
        for block in blocks("sh", text):
            for line in block.replace("\\\n", " ").splitlines():
                yield from ((page, part.strip()) for part in line.split(" && "))


def arguments_of(words, stub):
    """The program that a command starts and its arguments, as ``run_programs`` takes them."""
    program, *arguments = words[1:] if words[0].startswith("KERAS_BACKEND=") else words
    if program.endswith(".sh"):  # what the script would hand to Python
        done = subprocess.run(
            [program, *arguments],
            cwd=ROOT,
            env={**os.environ, "PYTHON": str(stub)},
            capture_output=True,
            text=True,
            check=True,
        )
        program, *arguments = ["python", *done.stdout.splitlines()]
    if program.startswith("splitnet-"):
        return program.removeprefix("splitnet-"), arguments
    assert program == "python", words
    if arguments[0] == "-m":
        arguments = [arguments[1].removeprefix("splitnet_tf.cli."), *arguments[2:]]
    return arguments[0], arguments[1:]


def test_the_commands_are_accepted(tmp_path):
    """Parsed by the programs themselves, which then stop (``--only_check_args``)."""
    stub = tmp_path / "python"
    stub.write_text('#!/bin/sh\nprintf "%s\\n" "$@"\n')
    stub.chmod(0o755)
    found = {}
    for page, command in commands():
        words = shlex.split(command)
        if command in FOREIGN:
            continue
        if words[0] == "make":
            assert all(re.search(rf"^{target}:", MAKEFILE, re.M) for target in words[1:]), command
            continue
        program, arguments = arguments_of(words, stub)
        found[page, command] = (program, [*arguments, "--only_check_args"])
    assert len(found) >= 30
    for where, (code, err) in zip(found, run_programs(found.values(), tmp_path), strict=True):
        assert code == 0, (where, err[-500:])


@pytest.mark.parametrize("page", PAGES)
def test_commands_and_code_fit_on_the_page(page):
    for language in ("sh", "python"):
        for block in blocks(language, PAGES[page]):
            long = [line for line in block.splitlines() if len(line) > 100]
            assert all(len(line.split()) == 1 for line in long), long  # nothing to break it at


def test_flags_named_on_the_pages_exist():
    programs = [ROOT / "download_cifar100.py", *(ROOT / "experiments").glob("*.py")]
    sources = "".join(p.read_text() for p in programs)
    known = set(re.findall(r'(?i:define)_\w+\(\s*"([a-z0-9_]+)"', sources))
    known |= {name for program in PROGRAMS for name in flags_of(program)}
    known |= {f"no{name}" for name in known}
    known |= {"help", "flagfile", "logdir"}  # of all programs, and TensorBoard's
    for page, text in PAGES.items():
        named = set(re.findall(r"(?<![\w-])--([a-z0-9_]+)", text))
        assert named <= known, (page, named - known)


def test_the_page_of_flags_is_as_it_would_be_written():
    assert PAGES["docs/flags.md"] == flags_page(), "python -m tests.flags_page docs/flags.md"


def test_the_table_of_packages_is_that_of_the_import_rules():
    rows = re.findall(r"^\| `(\w+)` \| .* \| (.*) ?\|$", PAGES["docs/development.md"], re.M)
    names = {package: set(re.findall(r"`(\w+)`", cell)) for package, cell in rows}
    whole = {package for package, cell in rows if cell.startswith("all of these")}
    assert set(names) == set(MAY_IMPORT) and whole == {"stages", "benchmarks", "cli"}
    assert {p: n for p, n in names.items() if p not in whole} == {
        p: n for p, n in MAY_IMPORT.items() if p not in whole
    }


def test_the_readme_is_short():
    assert len(PAGES["README.md"].splitlines()) <= 150


def test_links_and_pictures_of_every_page_are_there():
    found = 0
    for page, text in PAGES.items():
        for link in re.findall(r"\]\(([^)\s]+)\)", text):
            if "://" in link:
                continue
            name, _, place = link.partition("#")
            target = ((ROOT / page).parent / name).resolve() if name else ROOT / page
            assert target.is_file(), (page, link)
            if place:
                text = re.sub(r"```.*?```", "", target.read_text(encoding="utf-8"), flags=re.S)
                headings = re.findall(r"^#+ (.+)$", text, re.M)
                assert place in map(anchor, headings), (page, link)
            found += 1
    assert found > 40


def test_every_page_and_picture_is_linked():
    linked = {
        ((ROOT / page).parent / link.partition("#")[0]).resolve()
        for page, text in PAGES.items()
        for link in re.findall(r"\]\(([^)\s]+)\)", text)
        if "://" not in link
    }
    for file in (ROOT / "docs").iterdir():
        assert file in linked, file.name
