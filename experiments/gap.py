"""What the tree lacks of the whole network, by the network's width and the length of training."""

from __future__ import annotations

import statistics

from absl import flags

from experiments.program import check_choice, define_flags, run_rows, seeds
from experiments.row import Row
from experiments.tables import command, markdown
from experiments.variants import GAPS, recipe_of
from splitnet_tf.cli.define import define_list
from splitnet_tf.cli.program import run_program

FLAGS = flags.FLAGS
SPLITS = ("baseline", "deep")
HEADER = (
    *("network", "epochs", "seeds", "whole: error (%)", "tree: error (%)", "difference"),
    *("whole: params (M)", "tree: params (M)"),
)


def gap_lines(rows: list[dict]) -> list[tuple[str, ...]]:
    """For each recipe that has been run whole and as a tree: both errors, and their difference.

    Args:
      rows: of one scale; only seeds that have both rows count.
    """
    by_task: dict[tuple[float, float], dict[int, dict[str, dict]]] = {}
    for row in _of_the_gap(rows):
        found, recipe = row["row"], row["recipe"]
        if "error" in row:
            epochs = recipe["plain"]["epochs"] + recipe["baseline"]["epochs"]
            seeds = by_task.setdefault((recipe["width"], epochs), {})
            seeds.setdefault(found["seed"], {})[found["split"]] = row
    lines = []
    for (width, epochs), by_seed in sorted(by_task.items()):
        pairs = [tuple(s[k] for k in SPLITS) for s in by_seed.values() if len(s) == len(SPLITS)]
        if not pairs:
            continue
        whole, tree = (statistics.fmean(100 * p[i]["error"] for p in pairs) for i in (0, 1))
        depth = pairs[0][0]["recipe"]["depth"]
        lines.append(
            (
                *(f"WRN-{depth}-{width:g}", f"{epochs:g}", str(len(pairs))),
                *(f"{whole:.2f}", f"{tree:.2f}", f"{tree - whole:.2f}"),
                *(f"{statistics.fmean(p[i]['params'] for p in pairs) / 1e6:.3f}" for i in (0, 1)),
            )
        )
    return lines


def _of_the_gap(rows: list[dict]) -> list[dict]:
    return [
        row
        for row in rows
        if row["row"]["variant"].partition("=")[0] in ("", *GAPS)
        and (row["row"]["split"], row["row"]["grouping"]) in {(s, "learned") for s in SPLITS}
    ]


def gap_section(rows: list[dict]) -> list[str]:
    """Of docs/results.md; empty where there is but one task. ``rows`` as for ``gap_lines``."""
    lines = gap_lines(rows)
    if len(lines) < 2:
        return []
    rows = _of_the_gap(rows)
    varied = {r["row"]["variant"].partition("=")[0] for r in rows}
    return [
        "## The gap by width and by length",
        "What the deep tree lacks of the whole network, both with the recipe of the sweep; for "
        "more epochs every phase is longer.",
        markdown(HEADER, lines),
        command("gap", rows, {"by": [name for name in GAPS if name in varied]}),
    ]


def main() -> None:
    variants = [f"{n}={v}" for n in check_choice("by", GAPS) for v in GAPS[n]]
    run_rows(
        (Row(FLAGS.scale, split, seed=seed, variant=variant), recipe_of(FLAGS.scale, variant))
        for seed in seeds()
        for variant in ("", *variants)
        for split in SPLITS
    )


if __name__ == "__main__":
    define_flags("sweep", "smoke")
    define_list("by", list(GAPS), "What to change, one at a time.")
    run_program(main)
