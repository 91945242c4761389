"""SIGKILL at random moments: what a run leaves in the end is what an undisturbed one leaves."""

import os
import random
import time

import pytest

from tests.cli.forked import run, start
from tests.cli.small_programs import (
    COMMON,
    GROUP,
    SPARSE,
    SPLIT,
    same_files,
    same_weights,
    small_model,
)
from tests.training.small_run import events


def being_written(folder):
    """Whether a checkpoint is being written at this moment."""
    try:
        return any(name.startswith(".") for name in os.listdir(folder / "checkpoints"))
    except FileNotFoundError:
        return False


def kill_at_some_moment(process, folder, seconds, rng):
    """Kills within ``seconds`` of the start, or while a checkpoint is written; whether it did."""
    writes = rng.randrange(8) if rng.random() < 0.5 else None
    end, before = time.monotonic() + rng.uniform(0, seconds), False
    while process.is_alive():
        if writes is None:
            if time.monotonic() >= end:
                break
            time.sleep(0.001)
            continue
        now = being_written(folder)
        writes -= now and not before
        before = now
        if writes < 0:
            break
    process.kill()
    process.join()
    return process.exitcode == -9


def same_results(folder, expected, model, kept):
    same_weights(folder / model, expected / model)
    same_files(folder, expected, ("metrics.jsonl", "result.json", kept))
    kept, whole = (
        [e for e in events(f / "tensorboard") if not e[0].startswith("timing")]
        for f in (folder, expected)
    )
    assert kept == whole and len(kept) == len(set(kept)) > 50
    assert not [p for p in folder.rglob(".*")]


def survive(name, arguments, model, kept, tmp_path, kills, rng):
    """Kills ``kills`` processes; every run that came to its end is compared; how many did."""
    expected, begun = tmp_path / "undisturbed", time.monotonic()
    code, output = run(name, [*arguments, f"--train_dir={expected}"], tmp_path / "whole.out")
    seconds = time.monotonic() - begun
    assert code == 0, output[-2000:]
    done = runs = 0
    while done < kills:
        folder, output = tmp_path / f"run{runs}", tmp_path / f"run{runs}.out"
        command = (name, [*arguments, f"--train_dir={folder}"], output)
        while done < kills and kill_at_some_moment(start(*command), folder, seconds, rng):
            done += 1
        code, printed = run(*command)
        assert code == 0 and "Traceback" not in printed, printed[-2000:]
        same_results(folder, expected, model, kept)
        runs += 1
    return runs


@pytest.mark.timeout(3000)
@pytest.mark.slow
@pytest.mark.parametrize("kills", [(1, 1, 1), (8, 6, 6)], ids=["few", "twenty"])
def test_killed_runs_end_as_undisturbed_ones(tmp_path, kills):
    """Promise 6, with whole programs: grouping, then finetuning; and sparse training."""
    seed = random.randrange(2**32) if sum(kills) > 3 else 1
    rng = random.Random(seed)
    small_model(tmp_path / "small.keras")
    base, runs = tmp_path / "group" / "undisturbed", 0
    group = [*COMMON, *GROUP, f"--model={tmp_path / 'small.keras'}"]
    split = [*COMMON, *SPLIT, f"--basemodel={base}"]
    sparsify = [*COMMON, *SPARSE, f"--model={tmp_path / 'small.keras'}"]
    for name, arguments, model, kept, count in (
        ("group", group, "grouped.keras", "grouping.json", kills[0]),
        ("split", split, "tree.keras", "grouping.json", kills[1]),
        ("sparsify", sparsify, "sparse.keras", "selection.json", kills[2]),
    ):
        (tmp_path / name).mkdir()
        runs += survive(name, arguments, model, kept, tmp_path / name, count, rng)
    print(f"seed {seed}: {sum(kills)} kills, {runs} runs, all as the undisturbed ones")
