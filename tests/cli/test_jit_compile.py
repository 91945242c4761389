"""``--jit_compile``: the step compiled by XLA trains as the other does."""

import pytest

from splitnet_tf.runs.json_lines import read_lines
from tests.cli.forked import run
from tests.cli.small_programs import COMMON, GROUP, small_model, weights

SETTINGS = [*COMMON, *GROUP, "--max_steps=16", "--model=small.keras"]


def test_a_compiled_run_is_a_usual_one_but_for_rounding(tmp_path):
    small_model(tmp_path / "small.keras", dropout=0)  # XLA draws other numbers
    for name, more in (("usual", []), ("compiled", ["--jit_compile"])):
        arguments = [*SETTINGS, *more, f"--train_dir={name}"]
        code, printed = run("group", arguments, tmp_path / "out", cwd=tmp_path)
        assert code == 0, printed[-2000:]
    logs = [
        [entry for _, entry in read_lines((tmp_path / name / "metrics.jsonl").read_bytes())]
        for name in ("usual", "compiled")
    ]
    assert [e["step"] for e in logs[0]] == [e["step"] for e in logs[1]]
    losses = [[e["train/loss"] for e in log if "train/loss" in e] for log in logs]
    assert len(losses[0]) == 4 and losses[1] == pytest.approx(losses[0], rel=1e-3)
    found, wanted = (weights(tmp_path / n / "grouped.keras") for n in ("compiled", "usual"))
    assert found.keys() == wanted.keys()
    for name, array in wanted.items():
        assert found[name] == pytest.approx(array, rel=1e-2, abs=1e-3), name
