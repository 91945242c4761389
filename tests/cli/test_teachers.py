"""A teacher and a loss on the groups, by flags."""

import json

import keras
import pytest

from splitnet_tf.cli.program_flags import flags_of
from tests.cli.forked import run
from tests.cli.small_programs import COMMON, GROUP, SPLIT, same_weights, small_model


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A whole network and a grouping of it, both trained."""
    folder = tmp_path_factory.mktemp("taught")
    small_model(folder / "small.keras")
    program(folder, "group", "--model=small.keras", "--splits=second:1", "--train_dir=whole")
    program(folder, "group", "--model=whole/model.keras", *GROUP, "--train_dir=group")
    return folder


def program(folder, name, *arguments, code=0):
    """Runs a program; what it printed, in one line."""
    found, printed = run(name, [*COMMON, *arguments], folder / "out", cwd=folder)
    assert (found == code or code is None and found) and "Traceback" not in printed, printed[-2000:]
    return " ".join(printed.split())


def split(folder, run, *arguments, code=0):
    command = ("--basemodel=group", f"--train_dir={run}", *SPLIT, "--max_steps=8", *arguments)
    return program(folder, "split", *command, code=code)


def test_a_tree_with_a_teacher(folder):
    printed = split(folder, "taught", "--teacher=whole", "--teacher_weight=1")
    assert "The teacher 'functional' answers with weight 1." in printed
    config = json.loads((folder / "taught/config.json").read_text())
    assert config["teacher_weight"] == 1 and len(config["teacher_digest"]) >= 16
    # What is not a checksum is a flag, so that a report can say how to make the run again.
    assert {name for name in config if not name.endswith(("digest", "sha256"))} <= set(
        flags_of("split")
    )
    split(folder, "parts", "--teacher=before", "--teacher_parts=1,0.5", "--group_loss=0.5")
    split(folder, "plain")
    for one in ("taught", "parts"):
        with pytest.raises(AssertionError, match="not equal"):
            same_weights(folder / one / "tree.keras", folder / "plain/tree.keras")


def test_a_run_keeps_its_teacher(folder):
    split(folder, "kept", "--teacher=whole")
    (folder / "whole/model.keras").rename(folder / "moved.keras")
    try:
        assert "resumed" in split(folder, "kept", "--teacher=moved.keras")
    finally:
        (folder / "moved.keras").rename(folder / "whole/model.keras")
    printed = split(folder, "kept", "--teacher=before", code=1)
    assert "teacher_digest" in printed


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--temperature=2"], "--temperature has no effect without --teacher"),
        (["--teacher=whole", "--teacher_parts=1"], "--teacher_parts takes two weights; got 1."),
        (["--teacher=nothing"], "Run folder --teacher=nothing does not exist"),
        (["--teacher=other.keras"], "--teacher 'other' answers of shape [(4,)], the network"),
        (
            ["--teacher=unknown.keras"],
            "--teacher=unknown.keras: nothing says how its images are prepared; give its run "
            "folder, or --preprocessing=whiten if they are prepared as the network's.",
        ),
    ],
)
def test_a_teacher_that_cannot_be(folder, arguments, sentence):
    if not (folder / "other.keras").exists():
        inputs = keras.Input((16, 16, 3))
        for name, classes in (("other", 4), ("unknown", 8)):
            x = keras.layers.Dense(classes)(keras.layers.Flatten()(inputs))
            keras.Model(inputs, x, name=name).save(folder / f"{name}.keras")
    printed = split(folder, "refused", *arguments, code=None)
    assert sentence in printed
    assert not (folder / "refused").exists()


def test_a_teacher_while_groups_are_learned_is_refused(folder):
    arguments = ("--model=small.keras", *GROUP, "--teacher=whole", "--train_dir=none")
    printed = program(folder, "group", *arguments, code=2)
    assert "--teacher has no effect while groups are learned" in printed


def test_a_whole_network_with_a_teacher(folder):
    arguments = ("--model=small.keras", "--splits=second:1", "--train_dir=again", "--max_steps=4")
    assert "answers with weight 0.5" in program(folder, "group", *arguments, "--teacher=whole")
