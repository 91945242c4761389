"""``config.json`` re-creates a run: the report's command makes the same weights again."""

import shlex

import pytest

from splitnet_tf.report.commands import training_command
from splitnet_tf.report.run_folder import read_run_folder
from splitnet_tf.runs import read_config
from tests.cli.forked import run
from tests.cli.small_programs import COMMON, GROUP, SPLIT, same_files, same_weights, small_model

# Of each kind a flag that is not as by default: a number, a switch, a list, a text.
OTHERS = ["--max_steps=18", "--seed=5", "--noaugment", "--momentum=0.8", "--l2_weight=1e-05"]
OTHERS += ["--lr_schedule=step", "--lr_step_epoch=0.05,0.1", "--lr_decay=0.3"]
RUNS = {
    "group": [*GROUP, "--model=small.keras", "--gamma3=3", "--weighted_group_loss"],
    "split": [*SPLIT, "--basemodel=a group", "--patience=4", "--dropout_keep_prob=0.9"],
}
FILES = {"group": "grouped.keras", "split": "tree.keras"}


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """Both programs once; the names of their folders must be quoted."""
    place = tmp_path_factory.mktemp("commands")
    small_model(place / "small.keras")
    for name, arguments in RUNS.items():
        arguments = [*COMMON, *arguments, *OTHERS, f"--train_dir=a {name}"]
        code, printed = run(name, arguments, place / "out", cwd=place)
        assert code == 0, printed[-2000:]
    return place


@pytest.mark.parametrize("name", RUNS)
def test_the_command_of_a_report_makes_the_same_run(place, name):
    folder, other = place / f"a {name}", place / f"another {name}"
    command = training_command(read_run_folder(folder))
    words = shlex.split(command.replace("\\\n", " "))
    assert words[:3] == ["python", "-m", f"splitnet_tf.cli.{name}"]
    code, printed = run(name, [*words[3:], f"--train_dir={other}"], place / "out", cwd=place)
    assert code == 0, printed[-2000:]
    config = read_config(other)
    assert config.pop("train_dir") == str(other)
    wanted = read_config(folder)
    assert config == {k: v for k, v in wanted.items() if k != "train_dir"} and len(wanted) > 30
    same_weights(other / FILES[name], folder / FILES[name])
    same_files(other, folder)
