"""Sections of the report on one run of structured sparsity, ready for the template."""

from __future__ import annotations

import dataclasses
from typing import Any

from splitnet_tf.report.before_after import counted_by, measure
from splitnet_tf.report.curves import spread_out, zero_shares
from splitnet_tf.report.drawings import draw_zeros
from splitnet_tf.report.pictures import Picture, picture
from splitnet_tf.report.run_folder import SPARSIFY, RunFolder, number
from splitnet_tf.report.run_page import RunPage, page_values
from splitnet_tf.report.runs import SparseRun
from splitnet_tf.report.wording import sparse_summary
from splitnet_tf.runs.names import METRICS
from splitnet_tf.sparsity import STRUCTURES
from splitnet_tf.sparsity.changes import kernel_title

MOST_LINES = 8  # layers or spaces that are drawn of one structure


@dataclasses.dataclass(frozen=True)
class LayerChange:
    """One kernel before and after the shrink, as the table shows it.

    Attributes:
      name: str, name of its layer, and of the kernel where the layer has several.
      before, after: str, shapes such as ``5x5x20x50``; ``gone`` for a layer that goes.
      weights, multiply_adds: numbers before and after; None where they are not known.
      zeros: str, filters and columns of zeros that stay.
    """

    name: str
    before: str
    after: str
    weights: tuple[float | None, float | None]
    multiply_adds: tuple[float | None, float | None]
    zeros: str


@dataclasses.dataclass(frozen=True)
class SparsePage(RunPage):
    """Everything that the template needs of one run.

    ``left`` says what was not taken out, ``crossing`` has the bytes between devices for one
    example, with all blocks and with those that are left.
    """

    strengths: tuple[tuple[str, str], ...]
    layers: tuple[LayerChange, ...]
    left: tuple[str, ...]
    zero_groups: tuple[tuple[str, float, float], ...]
    crossing: tuple[float | None, float | None]
    zeros: Picture | None
    zeros_problem: str


def sparse_page(run: SparseRun) -> SparsePage:
    """Reads and draws everything on one run."""
    changes = next((f.changes for f in run.folders if f.changes), {})
    params, flops = (counted_by(run.shrink, name) for name in ("params", "flops"))
    measured = measure(run, params, flops, ())
    zeros, problem = _zeros(run)
    return SparsePage(
        **page_values(run, sparse_summary(run, measured), measured),
        strengths=_strengths(run.trained),
        layers=_layers(changes),
        left=tuple(s for s in _items(changes, "left") if isinstance(s, str)),
        zero_groups=_zero_groups(run.trained),
        crossing=_crossing(run.trained),
        zeros=zeros,
        zeros_problem=problem,
    )


def _strengths(folder: RunFolder | None) -> tuple[tuple[str, str], ...]:
    """Structures that were penalized, and their strengths as they were given."""
    config = folder.config if folder and folder.kind == SPARSIFY else {}
    found = []
    for name in STRUCTURES:
        value = config.get(name)
        if isinstance(value, list):
            value = ", ".join(map(str, value))
        if value is not None and not _is_zero(value):
            found.append((name, str(value)))
    return tuple(found)


def _is_zero(value: Any) -> bool:
    """True for zero as a number or, as flags are written down, in words."""
    try:
        return float(value) == 0
    except (TypeError, ValueError, OverflowError):
        return False


def _zero_groups(folder: RunFolder | None) -> tuple[tuple[str, float, float], ...]:
    """Structure and layer, groups at zero, all groups."""
    result = folder.result if folder and folder.kind == SPARSIFY else None
    if result is None:
        return ()
    return tuple((name, n, result.groups.get(name, 0)) for name, n in result.zero_groups.items())


def _crossing(folder: RunFolder | None) -> tuple[float | None, float | None]:
    result = folder.result if folder and folder.kind == SPARSIFY else None
    known = result.bytes_crossing if result else {}
    return known.get("before"), known.get("after")


def _zeros(run: SparseRun) -> tuple[Picture | None, str]:
    if run.trained is None:
        return None, "The folder of the training, which has its log, is not there."
    panels = {s: spread_out(c, MOST_LINES) for s, c in zero_shares(run.trained.metrics).items()}
    if not panels:
        return None, run.trained.problems.get(METRICS, "The training was not sparse.")
    caption = "Share of the groups that are zero, over training; some of the layers where many are."
    return picture(f"zeros{run.number}", caption, lambda: draw_zeros(panels)), ""


def _layers(changes: dict[str, Any]) -> tuple[LayerChange, ...]:
    kernels = [k for k in _items(changes, "kernels") if isinstance(k, dict)]
    return tuple(
        LayerChange(
            kernel_title(str(k.get("layer")), str(k.get("kernel"))),
            _shape(k.get("before")),
            _shape(k.get("after")),
            (number(k, "weights_before"), number(k, "weights_after")),
            (number(k, "multiply_adds_before"), number(k, "multiply_adds_after")),
            ", ".join(
                f"{count:g} {what}"
                for what in ("filters", "columns")
                if (count := number(k, f"zero_{what}"))
            ),
        )
        for k in kernels
    )


def _shape(shape: Any) -> str:
    return "x".join(map(str, shape)) if isinstance(shape, list) else "gone"


def _items(document: dict[str, Any], name: str) -> list:
    found = document.get(name)
    return found if isinstance(found, list) else []
