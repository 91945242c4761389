"""Sections that the reports on all runs have."""

from __future__ import annotations

import dataclasses
from typing import Any

from splitnet_tf.report.before_after import Measured
from splitnet_tf.report.commands import evaluation_command, training_command
from splitnet_tf.report.models import saved_with
from splitnet_tf.report.pictures import Picture
from splitnet_tf.report.runs import Run, SparseRun
from splitnet_tf.report.training import accuracy_picture, training_speed
from splitnet_tf.report.wording import damaged, state, title


@dataclasses.dataclass(frozen=True)
class RunPage:
    """Base: what the template needs of a run by either method."""

    run: Run | SparseRun
    title: str
    summary: str
    state: tuple[str, ...]
    damaged: tuple[str, ...]
    measured: Measured
    accuracy: Picture | None
    speed: tuple[tuple[str, float], ...]
    commands: tuple[str, ...]
    saved_with: tuple[str, ...]
    evaluation: str


def page_values(run: Run | SparseRun, summary: str, measured: Measured) -> dict[str, Any]:
    """Values of the fields of ``RunPage``."""
    return {
        "run": run,
        "title": title(run),
        "summary": summary,
        "state": state(run),
        "damaged": damaged(run),
        "measured": measured,
        "accuracy": accuracy_picture(run),
        "speed": training_speed(run),
        "commands": tuple(training_command(folder) for folder in run.folders[::-1]),
        "saved_with": tuple(saved_with(folder) for folder in run.folders[::-1]),
        "evaluation": evaluation_command(run),
    }
