"""Accuracy and speed of a run's phases while they trained."""

from __future__ import annotations

import numpy as np

from splitnet_tf.report.curves import Curve, read_curve
from splitnet_tf.report.drawings import draw_accuracy
from splitnet_tf.report.pictures import Picture, picture
from splitnet_tf.report.runs import Run, SparseRun
from splitnet_tf.report.wording import phase


def accuracy_picture(run: Run | SparseRun) -> Picture | None:
    """Draws accuracy over training, a panel for each phase; None where nothing is logged."""
    panels = []
    for folder in run.folders[::-1]:
        curves: list[Curve | None] = [
            read_curve(folder.metrics, "train/accuracy", "training"),
            read_curve(folder.metrics, "valid/accuracy", "validation"),
        ]
        found = [curve for curve in curves if curve]
        if found:
            panels.append((phase(run, folder), found))
    if not panels:
        return None
    return picture(
        f"accuracy{run.number}", "Accuracy over training.", lambda: draw_accuracy(panels)
    )


def training_speed(run: Run | SparseRun) -> tuple[tuple[str, float], ...]:
    """Returns the median images per second while training, by phase."""
    found = []
    for folder in run.folders[::-1]:
        curve = read_curve(folder.timing, "images_per_second")
        if curve:
            found.append((phase(run, folder), float(np.median(curve.values))))
    return tuple(found)
