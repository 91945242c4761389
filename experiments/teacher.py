"""The tables of teachers: trees and narrowed networks with and without one, and given groups."""

from __future__ import annotations

from absl import flags

from experiments import tables
from experiments.program import check_choice, chosen_seeds, define_flags, run_rows
from experiments.recipe import TEACHERS, Recipe
from experiments.row import Row
from experiments.variants import TAUGHT, recipe_of
from splitnet_tf.cli.define import define_list
from splitnet_tf.cli.program import run_program

FLAGS = flags.FLAGS
KINDS = {"whole": "baseline", "narrowed": "slim", "tree": "deep"}
SHAPES = ("shallow", "hierarchical")
# Name of a row: its split and its variant.
ROWS = {
    **{name: (split, "") for name, split in KINDS.items()},
    **{f"{kind}-teacher": (split, "teacher") for kind, split in KINDS.items()},
    **{f"tree-{variant}": ("deep", variant) for variant in TAUGHT if variant != "teacher"},
    **{shape: (shape, "") for shape in SHAPES},
    **{f"{shape}-teacher": (shape, "teacher") for shape in SHAPES},
}
HEADER = (
    *("row", "seeds", "test error (%)", "above whole", "validation error (%)"),
    *("before the cut", "after the cut", "NMI", *tables.MOVED),
    *("R_W at the start", "at the cut", *tables.SIZES),
)


def teacher_rows(scale: str, seeds: list[int], names: list[str]) -> list[tuple[Row, Recipe]]:
    """The rows of a table."""
    chosen = [ROWS[name] for name in names]
    return [
        (Row(scale, split, seed, variant), recipe_of(scale, variant))
        for seed in seeds
        for split, variant in chosen
    ]


def teacher_section(by_scale: dict[str, list[dict]]) -> list[str]:
    """The section of docs/results.md, with a table for each scale; empty without rows."""
    parts = [
        part
        for scale in TEACHERS
        for rows in tables.by_place(by_scale.get(scale, []))
        for part in _table(scale, rows)
    ]
    if not parts:
        return []
    empty = [scale.upper() for scale in TEACHERS if not by_scale.get(scale)]
    return [
        "## Trees with a teacher",
        "Rows of a seed share the plain phase. `teacher`: the whole network of the scale named "
        "teaches in the last phase (nine tenths of the loss, `half`: a half; temperature 4). "
        "`groups`: a loss on the groups of weight 0.5. `classes-semantic`, `-random`, `-worst`: "
        "groups of the classes that are given, the last with every superclass torn apart. "
        "`exchange`, `gates`: settings that let groups move. `narrowed` has the deep tree's "
        "parameters. `above whole` is the difference of test errors in points, seed by seed. "
        "Errors before and after the cut are test errors with batch norms re-estimated.",
        *parts,
        *([f"No row was measured of {', '.join(empty)}."] if empty else []),
    ]


def _table(scale: str, rows: list[dict]) -> list[str]:
    found = {
        name: [r for r in rows if (r["row"]["split"], r["row"]["variant"]) == key]
        for name, key in ROWS.items()
    }
    whole = {r["row"]["seed"]: r for r in found["whole"] if "error" in r}
    lines = [_line(name, own, whole) for name, own in found.items() if own]
    names = [line[0] for line in lines]
    missing = [name for name in ROWS if name not in names]
    absent = [f"Not measured: {', '.join(missing)}."] if missing else []
    return [
        f"### {scale.upper()}, taught by {TEACHERS[scale].upper()}",
        tables.setup(rows),
        tables.markdown(HEADER, lines),
        *absent,
        tables.command_block("teacher", rows, {"rows": names}),
    ]


def _line(name: str, own: list[dict], whole: dict[int, dict]) -> tuple[str, ...]:
    errors = [r for r in own if "error" in r]
    paired = [
        r["error"] - whole[r["row"]["seed"]]["error"] for r in errors if r["row"]["seed"] in whole
    ]
    stages = (f"error_{stage}_recalibrated" for stage in ("before", "after_cut"))
    weights = [r["group_weight"] for r in own if "group_weight" in r]
    return (
        *(name, tables.count_seeds(own), tables.spread([r["error"] for r in errors])),
        "-" if name == "whole" else tables.spread(paired),
        *(tables.spread([r.get(key) for r in errors]) for key in ("valid_error", *stages)),
        *(tables.spread([r.get("nmi") for r in own], 1, 3), *tables.moves(own)),
        *(tables.spread([w[i] for w in weights], 1, 3) for i in range(2)),
        *tables.sizes(own),
    )


def main() -> None:
    run_rows(teacher_rows(FLAGS.scale, chosen_seeds(), check_choice("rows", ROWS)))


if __name__ == "__main__":
    define_flags(*TEACHERS, "smoke")
    define_list("rows", ["whole", "tree", "tree-teacher", "narrowed-teacher"], "Rows of the table.")
    run_program(main)
