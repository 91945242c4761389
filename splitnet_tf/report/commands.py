"""Commands that make a run again, from its settings."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

from splitnet_tf.report.run_folder import RunFolder
from splitnet_tf.report.runs import Run, SparseRun
from splitnet_tf.runs.names import EVALUATION

# Settings that belong to one call of a program, or that it found by itself.
NO_FLAGS = ("restart", "sections")
OF_DATA = ("dataset", "data_dir", "seed", "image_size", "validation_share")
WIDTH = 96  # characters of a line
_FLAG = re.compile(r"[a-z][a-z0-9_]*")


def training_command(folder: RunFolder) -> str:
    """Writes the call of the program that made a folder; "" where Python made it."""
    if "train_dir" not in folder.config:
        return ""
    flags = {
        name: value
        for name, value in folder.config.items()
        if name not in NO_FLAGS and not name.endswith("_digest") and _FLAG.fullmatch(name)
    }
    return _command(folder.kind, flags)


def evaluation_command(run: Run | SparseRun) -> str:
    """Writes the call of ``evaluate`` whose output the report reads."""
    flags = {name: run.setting(name) for name in OF_DATA}
    flags["basemodel"] = str(run.path)
    flags["output_file"] = str(run.path / EVALUATION)
    return _command("evaluate", flags)


def placed_command(run: Run, devices: int) -> str:
    """Writes the call of ``evaluate`` that runs the tree on ``devices`` GPUs."""
    flags = {name: run.setting(name) for name in OF_DATA}
    flags["basemodel"] = str(run.path)
    flags["devices"] = [f"/GPU:{i}" for i in range(devices)]
    flags["trunk"] = "shard"
    return _command("evaluate", flags)


def report_command(runs: list[Run | SparseRun], output: str | Path = "report.html") -> str:
    """Writes the call that makes the report."""
    folders = [shlex.quote(str(run.path)) for run in runs]
    return f"python -m splitnet_tf.cli.report {' '.join(folders)} -o {shlex.quote(str(output))}"


def _command(program: str, flags: dict[str, Any]) -> str:
    lines = [f"python -m splitnet_tf.cli.{program}"]
    for name, value in flags.items():
        if value is None or value == []:
            continue
        text = ",".join(str(v) for v in value) if isinstance(value, list) else str(value)
        word = f"--{name}={shlex.quote(text)}"
        if len(lines[-1]) + len(word) < WIDTH:
            lines[-1] += f" {word}"
        else:
            lines.append(word)
    return " \\\n  ".join(lines)
