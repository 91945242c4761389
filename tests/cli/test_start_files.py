"""A run is not begun in the folder of what it starts from, which it would remove."""

import pytest

from tests.cli.forked import run_programs

FILES = ("grouped.keras", "model.keras", "grouping.json", "sub/own.keras", "groups/given.json")
# Program, flags, the flag and value that the sentence begins with.
REFUSED = [
    ("split", ["--basemodel=base", "--train_dir=base"], "--basemodel=base"),
    ("split", ["--basemodel=base/", "--train_dir=./base"], "--basemodel=base/"),
    ("split", ["--basemodel=link", "--train_dir=base"], "--basemodel=link"),
    ("split", ["--basemodel=base", "--train_dir=link"], "--basemodel=base"),
    ("split", ["--basemodel=base/grouped.keras", "--train_dir=base"], "--basemodel=base/grouped."),
    ("split", ["--basemodel=base/sub/own.keras", "--train_dir=base"], "--basemodel=base/sub/own."),
    ("split", ["--basemodel=base", "--train_dir=."], "--basemodel=base"),
    ("split", ["--basemodel=linked.keras", "--train_dir=base"], "--basemodel=linked.keras"),
    ("split", ["--basemodel=links", "--train_dir=base"], "--basemodel=links"),
    ("split", ["--basemodel=out/model.keras", "--train_dir=out"], "--basemodel=out/model.keras"),
    (
        "split",
        ["--basemodel=linked.keras", "--grouping=base/grouping.json", "--train_dir=base"],
        "--basemodel=linked.keras",
    ),
    (
        "split",
        ["--basemodel=none", "--grouping=base/grouping.json", "--train_dir=base"],
        "--grouping=base/grouping.json",
    ),
    ("group", ["--basemodel=base", "--train_dir=base"], "--basemodel=base"),
    ("group", ["--model=base/model.keras", "--train_dir=base"], "--model=base/model.keras"),
    ("group", ["--grouping=base/groups/given.json", "--train_dir=base"], "--grouping=base/groups"),
]
# Their sentence is a later one: of a folder beside or below, and of a folder by a model's name.
GO_ON = [
    ("split", ["--basemodel=base", "--train_dir=base2"], "is refused"),
    ("split", ["--basemodel=base", "--train_dir=base/split"], "is refused"),
    ("group", ["--model=base", "--train_dir=."], "model must be one of"),
]


@pytest.fixture
def folder(tmp_path):
    """A run folder with files and links to it, beside it and in another."""
    for name in FILES:
        (tmp_path / "base" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "base" / name).write_text(name)
    (tmp_path / "link").symlink_to("base")
    (tmp_path / "linked.keras").symlink_to("base/grouped.keras")
    for name in ("links", "out"):
        (tmp_path / name).mkdir()
    (tmp_path / "links" / "grouped.keras").symlink_to(tmp_path / "base" / "grouped.keras")
    (tmp_path / "out" / "model.keras").symlink_to(tmp_path / "base" / "model.keras")
    return tmp_path


def test_a_run_in_the_folder_of_its_start_is_refused(folder):
    rows = [
        (program, [*arguments, *more, "--dataset=planted"], start, arguments[-1])
        for program, arguments, start in REFUSED
        for more in ([], ["--restart"])
    ]
    found = run_programs([row[:2] for row in rows], folder)
    for (program, arguments, start, last), (code, err) in zip(rows, found, strict=True):
        about = f"{program} {arguments}: exit {code}, {err[-500:]}"
        assert code == 2 and "Traceback" not in err, about
        (sentence,) = [line for line in err.splitlines() if "error:" in line]
        assert f"error: {start}" in sentence and f" lies in {last}, where this run" in sentence
        assert sentence.endswith("choose another --train_dir."), about
    assert {n: (folder / "base" / n).read_text() for n in FILES} == {n: n for n in FILES}
    assert (folder / "out" / "model.keras").is_symlink()
    assert not (folder / "base" / "run.lock").exists()


def test_a_run_beside_its_start_is_not(folder):
    found = run_programs([(p, [*a, "--dataset=planted"]) for p, a, _ in GO_ON], folder)
    for (program, arguments, sentence), (code, err) in zip(GO_ON, found, strict=True):
        assert code and sentence in err, f"{program} {arguments}: exit {code}, {err[-500:]}"
