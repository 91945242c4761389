"""Batches divided over workers by program: the run of one process, also when a worker is lost."""

import contextlib
import json
import signal
import time

import numpy as np
import pytest

from tests.cli.forked import run, start
from tests.cli.small_programs import COMMON, GROUP, SPLIT, small_model, weights
from tests.parallel.test_cluster import LOST, Workers, wait_until

FILES = {"group": "grouped.keras", "split": "tree.keras"}


def command(program, folder, model):
    own = {
        "group": [*GROUP, f"--model={model}"],
        "split": [*SPLIT, f"--basemodel={folder.parent / 'base'}"],
    }[program]
    return [*COMMON, *own, f"--train_dir={folder}"]


@pytest.fixture
def place(tmp_path):
    """A model without dropout, so that shares are what the whole batch is."""
    small_model(tmp_path / "small.keras", dropout=0.0)
    return tmp_path


def near(one, other):
    """Apart by what rounding makes of many steps; a step too few would be seen."""
    found, wanted = weights(one), weights(other)
    assert found.keys() == wanted.keys() and len(found) > 7
    for name, array in wanted.items():
        np.testing.assert_allclose(found[name], array, rtol=0, atol=1e-3, err_msg=name)


@pytest.mark.slow
def test_devices_of_one_machine(place):
    """The run is that of one device, and its logs are written once."""
    common = ["--sync_batch_norm", "--warmup_epochs=0.02", "--max_steps=8", "--display=2"]
    for folder, more in (
        ("one", []),
        ("two", ["--distribute=mirrored", "--devices=/CPU:0,/CPU:1"]),
    ):
        arguments = [*command("group", place / folder, place / "small.keras"), *common, *more]
        code, printed = run("group", arguments, place / "out")
        assert code == 0, printed[-2000:]
        assert ("divided over /CPU:0, /CPU:1" in printed) == bool(more)
    near(place / "two" / "grouped.keras", place / "one" / "grouped.keras")
    logs = [(place / n / "metrics.jsonl").read_text().splitlines() for n in ("one", "two")]
    steps = [[json.loads(line)["step"] for line in log] for log in logs]
    assert steps[0] == steps[1] == sorted(steps[0]) and 8 in steps[0]


@pytest.mark.slow
@pytest.mark.parametrize("program", ["group", "split"])
@pytest.mark.parametrize(
    ("number", "choice"), [(signal.SIGKILL, "retry"), (signal.SIGSTOP, "stop"), (None, "local")]
)
def test_a_worker_is_lost(place, program, number, choice):
    """Named within 30 s; the run goes on from its newest checkpoint to the same weights."""
    model = place / "small.keras"
    if program == "split":
        assert run("group", command("group", place / "base", model), place / "out")[0] == 0
    code, printed = run(program, command(program, place / "undisturbed", model), place / "out")
    assert code == 0, printed[-2000:]
    out, err = place / "stdout", place / "stderr"
    with contextlib.closing(Workers(place)) as workers:
        arguments = command(program, place / "run", model)
        arguments += ["--distribute=multiworker", workers.flag, "--sync_batch_norm"]
        arguments += [f"--on_worker_loss={choice}", "--worker_timeout=5"]
        err.write_text("")
        process = start(program, arguments, out, err)
        saved = place / "run" / "checkpoints"
        wait_until(lambda: list(saved.glob("step-*.npz")), process, 120)
        begin = time.monotonic()
        workers.signal(number or signal.SIGKILL)
        lost = LOST.format(port=workers.ports[1])
        wait_until(lambda: lost in err.read_text(), process if choice != "stop" else Patient, 30)
        assert time.monotonic() - begin < 30
        if choice == "retry":
            workers.restart()
        process.join(120)
        assert process.exitcode == (1 if choice == "stop" else 0), err.read_text()[-2000:]
        if choice == "stop":
            workers.restart()
            code, printed = run(program, arguments, place / "again")
            assert code == 0, printed[-2000:]
            assert "resumed from" in printed
        else:
            assert "resumed from" in err.read_text()
    assert "Traceback" not in err.read_text()
    near(place / "run" / FILES[program], place / "undisturbed" / FILES[program])


class Patient:
    """Process that may have ended."""

    exitcode = None
