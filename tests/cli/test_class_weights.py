"""Class weights by flag: the loss of each class counts as often."""

import json

import pytest

from splitnet_tf.data import planted_groups
from tests.cli.forked import run
from tests.cli.small_programs import COMMON, small_model


@pytest.mark.slow
def test_the_loss_is_that_of_the_weights(tmp_path):
    """Nothing is learned, so that only the weights tell the runs apart."""
    small_model(tmp_path / "small.keras", dropout=0.0)
    names = planted_groups((2,)).class_names
    common = [*COMMON, "--model=small.keras", "--preprocessing=whiten", "--splits=second:1"]
    common += ["--max_steps=4", "--initial_lr=0", "--final_lr=0", "--l2_weight=0"]
    found = {}
    for weight in (1, 3):
        every = ",".join(f"{name}:{weight}" for name in names)
        command = [*common, f"--class_weight={every}", f"--train_dir=by{weight}"]
        code, printed = run("group", command, tmp_path / "out", cwd=tmp_path)
        assert code == 0, printed[-2000:]
        lines = (tmp_path / f"by{weight}/metrics.jsonl").read_text().splitlines()
        found[weight] = next(
            line["train/cross_entropy"] for line in map(json.loads, lines) if "train/loss" in line
        )
    assert found[3] == pytest.approx(3 * found[1], rel=1e-5) and found[1] > 0
