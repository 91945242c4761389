"""Report as one HTML file that needs no other."""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from pathlib import Path

import jinja2

from splitnet_tf.report.commands import report_command
from splitnet_tf.report.drawings import draw_gamma3
from splitnet_tf.report.overview import gamma3_sizes, imbalance
from splitnet_tf.report.pictures import picture
from splitnet_tf.report.runs import Run, read_runs
from splitnet_tf.report.sparse_page import sparse_page
from splitnet_tf.report.split_page import split_page, versions
from splitnet_tf.runs.names import SHRINK_STAGES, STAGES
from splitnet_tf.storage.atomic import write_atomically

DASH = "–"


def make_report(paths: Sequence[str | Path]) -> str:
    """Makes the report of one or several runs.

    Args:
      paths: run folders of groupings and splits, of sparse trainings and shrinks.

    Returns:
      The text of an HTML page without references to other files; the same files give the same
      text.

    Raises:
      RunError: one of the paths is not a run folder.
    """
    runs = read_runs(paths)
    trees = [run for run in runs if isinstance(run, Run)]
    sizes = gamma3_sizes(trees)
    gamma3 = None
    if sizes:
        gamma3 = picture(
            "gamma3",
            "Share of the classes in each group, the largest group at the bottom, with the number "
            "of its classes.",
            lambda: draw_gamma3([s.gamma3 for s in sizes], [s.classes for s in sizes]),
        )
    template = _environment().get_template("report.html.j2")
    page = template.render(
        pages=[split_page(run) for run in trees],
        sparse_pages=[sparse_page(run) for run in runs if not isinstance(run, Run)],
        gamma3=gamma3,
        gamma3_sizes=sizes,
        count_runs=len(runs),
        stages=STAGES,
        shrink_stages=SHRINK_STAGES,
        versions=versions(),
        command=report_command(runs),
    )
    return page.strip() + "\n"


def write_report(paths: Sequence[str | Path], path: str | Path) -> Path:
    """Writes the report of one or several runs to a file, at once or not at all.

    Args:
      paths: run folders, see ``make_report``.
      path: HTML file to write.

    Returns:
      The file.

    Raises:
      RunError: one of the paths is not a run folder.
      OSError: the file cannot be written.
    """
    write_atomically(path, make_report(paths).encode("utf-8", "replace"))
    return Path(path)


@functools.cache
def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("splitnet_tf.report", "templates"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    environment.filters.update(
        percent=percent, count=count, engineering=engineering, change=change, decimal=decimal
    )
    environment.globals.update(imbalance=imbalance)
    return environment


def percent(value: float | None, digits: int = 1) -> str:
    """Formats 0.3778 as 37.8%."""
    return DASH if value is None else f"{100 * value:.{digits}f}%"


def count(value: float | None) -> str:
    """Formats a whole number with commas."""
    return DASH if value is None else f"{value:,.0f}"


def engineering(value: float | None) -> str:
    """Formats a number with a word for its thousands, such as 0.367 million."""
    if value is None:
        return DASH
    for scale, word in ((1e9, " billion"), (1e6, " million")):
        if abs(value) >= scale / 10:
            return f"{value / scale:.3f}{word}"
    return f"{value:,.0f}"


def decimal(value: float | None, digits: int = 3) -> str:
    """Formats a number with ``digits`` digits after the point."""
    return DASH if value is None or not math.isfinite(value) else f"{value:.{digits}f}"


def change(pair: tuple[float | None, float | None]) -> str:
    """Formats by how much the second number is more or less than the first, in percent."""
    before, after = pair
    if not before or after is None:
        return DASH
    return f"{100 * (after / before - 1):+.1f}%".replace("-", "−")
