"""The gap between tree and whole network, by the network's width and the length of training."""

from __future__ import annotations

import statistics

from experiments.tables import command_block, markdown, places_of
from experiments.variants import GAP_SPLITS, GAPS

HEADER = (
    *("network", "epochs", "seeds", "whole: error (%)", "narrower: error (%)", "tree: error (%)"),
    *("tree above whole", "above narrower"),
    *("whole: params (M)", "narrower: params (M)", "tree: params (M)"),
)


def gap_lines(rows: list[dict]) -> list[tuple[str, ...]]:
    """Errors of the whole network, a narrower one and the tree, and differences, by recipe.

    Args:
      rows: rows of one scale; only seeds with which all three were trained count. Seeds with which
        one of them failed are counted apart.
    """
    by_task: dict[tuple[float, float], dict[int, dict[str, dict]]] = {}
    for row in _of_the_gap(rows):
        found, recipe = row["row"], row["recipe"]
        epochs = recipe["plain"]["epochs"] + recipe["baseline"]["epochs"]
        by_seed = by_task.setdefault((recipe["width"], epochs), {})
        by_seed.setdefault(found["seed"], {})[found["split"]] = row
    lines = []
    for (width, epochs), by_seed in sorted(by_task.items()):
        trained = [found for found in by_seed.values() if len(found) == len(GAP_SPLITS)]
        whole = [found for found in trained if all("error" in r for r in found.values())]
        if not whole:
            continue
        failed = f", {len(trained) - len(whole)} more failed" if len(trained) > len(whole) else ""
        errors, params = (
            [
                statistics.fmean(scale * found[split][name] for found in whole)
                for split in GAP_SPLITS
            ]
            for name, scale in (("error", 100), ("params", 1e-6))
        )
        depth = whole[0]["baseline"]["recipe"]["depth"]
        lines.append(
            (
                *(f"WRN-{depth}-{width:g}", f"{epochs:g}", f"{len(whole)}{failed}"),
                *(f"{error:.2f}" for error in errors),
                *(f"{errors[2] - error:.2f}" for error in errors[:2]),
                *(f"{count:.3f}" for count in params),
            )
        )
    return lines


def _of_the_gap(rows: list[dict]) -> list[dict]:
    found = [row for row in rows if row["row"]["split"] in GAP_SPLITS]
    return [row for row in found if row["row"]["variant"].partition("=")[0] in ("", *GAPS)]


def gap_section(rows: list[dict]) -> list[str]:
    """The section of docs/results.md; empty without two tasks. ``rows`` as for ``gap_lines``."""
    lines = gap_lines(rows)
    if len(lines) < 2:
        return []
    rows = _of_the_gap(rows)
    varied = {r["row"]["variant"].partition("=")[0] for r in rows}
    return [
        "## The gap by width and by length",
        f"{places_of(rows)}. What the deep tree lacks of the whole network, and of one that is "
        "narrower throughout and has about the tree's parameters, all with the recipe of the "
        "sweep; for more epochs every phase is longer.",
        markdown(HEADER, lines),
        command_block("sweep", rows, {"settings": [name for name in GAPS if name in varied]}),
    ]
