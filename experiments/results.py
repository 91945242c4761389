"""Writes docs/results.md and its pictures from the rows that runs have left."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

from absl import flags

from experiments import tables
from experiments.collect import ROWS, collect, read_comparisons, read_rows, read_table5
from experiments.gap import gap_section
from experiments.recipe import SPLITS, TEACHERS
from experiments.sensitivity import sensitivity_section
from experiments.ssl_cifar import cifar_section
from experiments.ssl_tables import collect_ssl, read_speed, read_ssl, speed_section, ssl_section
from experiments.teacher import teacher_section
from splitnet_tf.benchmarks.speed_ups import SPEED_UP_HEADER, draw_speed_ups, speed_up_cells
from splitnet_tf.cli.define import define_text
from splitnet_tf.cli.program import run_program
from splitnet_tf.storage.atomic import write_atomically

FLAGS = flags.FLAGS
DOCS = ROWS.parents[1] / "docs"
REMARKS = Path(__file__).with_name("remarks.md")
SWEPT = "sweep"
TABLE5_PICTURE = "table5-{}.png"
# The paper's Table 2, WRN-16-8: error (%), parameters (M), GFLOPs. The last three rows have
# learned, unequal groups, on which FLOPs depend.
PAPER = {
    "baseline": (24.28, 11.0, 3.10),
    "fc": (24.26, 10.96, 3.10),
    "shallow": (23.96, 7.42, None),
    "deep": (24.62, 5.90, None),
    "hierarchical": (24.80, 4.12, None),
}


def table2(rows: list[dict]) -> str:
    """Parameters, FLOPs and error, whole and split; empty without a baseline."""
    found = {split: tables.chosen(rows, split) for split in SPLITS}
    if not found["baseline"]:
        return ""
    lines = [
        (
            *(split, "-".join(map(str, SPLITS[split])), tables.count_seeds(own)),
            *(*tables.stages(own), *tables.moves(own), *tables.sizes(own)),
            *(f"{x:.2f}" if x else "-" for x in PAPER.get(split, (None,) * 3)),
        )
        for split, own in found.items()
        if own
    ]
    header = (
        *("", "groups", "seeds", "error (%)", *tables.STAGE_NAMES, *tables.MOVED, *tables.SIZES),
        *("paper: error", "paper: params (M)", "paper: GFLOPs"),
    )
    how = tables.command_block("table2", rows, {"rows": tables.among(rows, "split", SPLITS)})
    return f"{tables.markdown(header, lines)}\n\n{how}"


def table5(document: dict, scale: str) -> str:
    """Speed-ups of parallel evaluation."""
    machine = document["machine"]
    where = (
        f"{document['model']}, {'bfloat16, ' if document.get('bfloat16') else ''}batch "
        f"{document['batch_size']}, the median of "
        f"{document['repeats']} rounds; on {', '.join(document['devices'])} "
        f"({machine['processor']}, TensorFlow {machine['tensorflow']}). `bound` is what the FLOPs "
        "allow; `paper` was measured on two GPUs (3-way: three)."
    )
    table = tables.markdown(SPEED_UP_HEADER, speed_up_cells(document))
    picture = f"![Speed-ups and their bounds]({TABLE5_PICTURE.format(scale)})"
    return (
        f"{where}\n\n{table}\n\n{picture}\n\n{tables.shell_block('python ' + document['command'])}"
    )


def comparison(document: dict) -> str:
    """Table 1 as ``splitnet-compare`` found it, with its command."""
    columns = (("error_after_cut", 100, 2), ("error_before", 100, 2), ("nmi", 1, 3))
    columns += (("random_nmi", 1, 3), ("params", 1e-6, 4))
    lines = [
        (
            *(row["grouping"], tables.spread([r["error"] for r in row["runs"]])),
            _plus_minus(row.get("better"), row.get("better_spread")),
            *(tables.spread([r[name] for r in row["runs"]], *how) for name, *how in columns),
        )
        for row in document["rows"]
    ]
    header = (
        *("classes", "error (%)", "below random by, seed by seed", "cut, re-estimated", "before"),
        *("NMI", "of random groups", "params (M)"),
    )
    seeds = ",".join(map(str, document["seeds"]))
    flags = [n for n in ("plain_flags", "group_flags", "split_flags") if document.get(n)]
    block = tables.shell_block(
        f"python -m splitnet_tf.cli.compare --dataset={document['dataset']} --seeds={seeds}",
        *(f'--{name}="{document[name]}"' for name in flags),
        "--train_dir=runs/compare",
    )
    return f"{tables.markdown(header, lines)}\n\n{block}"


def _plus_minus(mean: float | None, deviation: float | None) -> str:
    if mean is None:
        return "-"
    return f"{100 * mean:.2f}" + (f" ± {100 * deviation:.2f}" if deviation is not None else "")


def document(
    by_scale: dict[str, list[dict]],
    by_scale5: dict[str, dict],
    comparisons: list[dict],
    remarks: str,
    ssl: Sequence[str] = (),
) -> str:
    """The text of docs/results.md; ``ssl`` is the part on structured sparsity."""
    parts = [
        "# The papers' tables, measured",
        "Written by `python -m experiments.results` from the rows in `experiments/rows`; error is "
        "the test error, mean ± standard deviation over seeds; published figures are of WRN-16-8; "
        "`slim` is a whole network, narrower throughout, its parameters as near to the deep "
        "tree's as a width can bring them. Of the 50,000 training images 5,000 are for "
        "validation; the 10,000 of the test decide nothing.",
        remarks.strip(),
        *teacher_section(by_scale),
    ]
    of_table2 = [s for s in by_scale if s not in (SWEPT, *TEACHERS)]
    scales = [(s, p) for s in of_table2 for p in tables.by_place(by_scale[s])]
    for scale, rows in scales:
        if table := table2(rows):
            parts += [f"## Scale `{scale}`", tables.setup(rows)]
            parts += ["### Table 2: whole and split", table]
    for rows in tables.by_place(by_scale.get(SWEPT, [])):
        parts += [*sensitivity_section(rows), *gap_section(rows)]
    for found in comparisons:
        parts += ["## Table 1 by `splitnet-compare`", comparison(found)]
    for scale, found in by_scale5.items():
        parts += [f"## Table 5, scale `{scale}`", table5(found, scale)]
    return "\n\n".join([*parts, *ssl]) + "\n"


def ssl_parts() -> list[str]:
    """The part on structured sparsity, of what is in the repository."""
    rows = read_ssl()
    return [*ssl_section(rows), *cifar_section(rows), *speed_section(read_speed())]


def main() -> None:
    if not FLAGS["runs"].using_default_value and not Path(FLAGS.runs).is_dir():
        raise flags.Error(f"--runs: there is no folder {FLAGS.runs}; leave it out or name another.")
    runs = Path(FLAGS.runs)
    for path in [*collect(runs), *collect_ssl(runs / "ssl")]:
        logging.info("collected %s", path)
    by_scale, by_scale5 = read_rows(), read_table5()
    remarks = REMARKS.read_text(encoding="utf-8")
    text = document(by_scale, by_scale5, read_comparisons(), remarks, ssl_parts())
    write_atomically(DOCS / "results.md", text.encode())
    for scale, found in by_scale5.items():
        draw_speed_ups(found, DOCS / TABLE5_PICTURE.format(scale))
    print(f"Written: {DOCS / 'results.md'}")


if __name__ == "__main__":
    define_text("runs", "runs/experiments", "Folder of all runs, or a copy of it.")
    run_program(main)
