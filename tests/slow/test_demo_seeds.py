"""The demo for ten seeds, and with two levels of groups: planted groups found, at most one point
lost. By name: -m slow."""

import json
import os
import subprocess
import sys

import pytest

from tests.conftest import ROOT

SEEDS = range(10)


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize(("dataset", "splits"), [("planted", "2-2-2"), ("planted-2-2", "2-4-4")])
def test_the_demo_finds_the_planted_groups_for_nine_of_ten_seeds(tmp_path, dataset, splits):
    env = {**os.environ, "PYTHON": sys.executable}
    common = [f"--dataset={dataset}", "--batch_size=64", "--lr_schedule=cosine", "--max_steps=0"]
    common += ["--checkpoint_interval=0"]
    rows = []
    for seed in SEEDS:
        group, split = tmp_path / f"group{seed}", tmp_path / f"split{seed}"
        for command in (
            [
                "group.sh",
                *common,
                "--model=wrn-10-1",
                f"--splits={splits}",
                f"--train_dir={group}",
                "--dropout_keep_prob=1",
                "--epochs=8",
                "--warmup_epochs=3",
                f"--seed={seed}",
            ],
            [
                "split.sh",
                *common,
                f"--basemodel={group}",
                f"--train_dir={split}",
                "--epochs=4",
                f"--seed={seed}",
            ],
            [
                "eval.sh",
                f"--dataset={dataset}",
                f"--basemodel={split}",
                f"--seed={seed}",
                f"--output_file={split}/evaluation.json",
            ],
        ):
            subprocess.run(
                ["bash", str(ROOT / command[0]), *command[1:]],
                env=env,
                check=True,
                capture_output=True,
            )
        found = json.loads((split / "evaluation.json").read_text())
        stages = found["stages"]
        worst = min(level["agreement"] for level in found["groups"]["planted_levels"])
        rows.append((seed, worst, stages["before"], stages["finetuned"]))
        print(*rows[-1], flush=True)  # seed, agreement, before, finetuned
    good = [r for r in rows if r[1] > 0.999 and r[3] >= r[2] - 0.01]
    assert len(good) >= 9, rows
