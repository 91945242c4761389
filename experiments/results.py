"""Writes docs/results.md and its pictures from the rows that runs have left."""

from __future__ import annotations

import logging
import statistics
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from absl import flags

from experiments.collect import ROWS, collect, read_comparisons, read_rows, read_table5
from experiments.gap import HEADER as GAP_HEADER
from experiments.gap import gap_lines
from experiments.published import ERRORS, PARAMS
from experiments.recipe import SCALES, SPLITS, WHOLE, value_of
from experiments.row import GROUPINGS
from experiments.sensitivity import draw, points
from splitnet_tf.cli.define import define_text
from splitnet_tf.cli.program import run_program
from splitnet_tf.files import write_atomically

FLAGS = flags.FLAGS
DOCS = ROWS.parents[1] / "docs"
REMARKS = Path(__file__).with_name("remarks.md")
SWEPT = "sweep"


def markdown(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def spread(values: Sequence[float | None], scale: float = 100.0, digits: int = 2) -> str:
    """Mean and standard deviation of the sample, as text."""
    found = [scale * v for v in values if v is not None]
    if not found:
        return "-"
    text = f"{statistics.fmean(found):.{digits}f}"
    return text + (f" ± {statistics.stdev(found):.{digits}f}" if len(found) > 1 else "")


def chosen(rows: list[dict], split: str, grouping: str = "learned") -> list[dict]:
    """The rows of a table's row, one a seed."""
    return [
        r
        for r in rows
        if (r["row"]["split"], r["row"]["grouping"], r["row"]["variant"]) == (split, grouping, "")
    ]


STAGES = ("error", "error_before", "error_after_cut", "error_recalibrated")
STAGE_NAMES = ("seeds", "error (%)", "before the cut", "after it", "batch norm re-estimated")


def stages(found: list[dict]) -> list[str]:
    """Number of seeds, and the error at each of ``STAGES``."""
    whole = [r for r in found if "error" in r]
    seeds = f"{len(found)}, {len(found) - len(whole)} collapsed"
    return [
        seeds if len(whole) < len(found) else str(len(found)),
        *(spread([r.get(stage) for r in whole]) for stage in STAGES),
    ]


MOVED = ("classes that moved (%)", "features (%)")


def moves(found: list[dict]) -> list[str]:
    """Shares of the classes and of the features that left the group of the start."""
    moved = [r["moved"] for r in found if "moved" in r]
    return [spread([m[kind] for m in moved], 100, 0) for kind in ("classes", "features")]


def table2(rows: list[dict]) -> str:
    """Parameters, FLOPs and error, whole and split; empty without a baseline."""
    if not chosen(rows, "baseline"):
        return ""
    lines = []
    for split, groups in SPLITS.items():
        found = chosen(rows, split)
        if not found:
            continue
        lines.append(
            (
                split,
                "-".join(map(str, groups)),
                *stages(found),
                *moves(found),
                *sizes(found),
                *_published(split),
            )
        )
    header = (
        *("", "groups", *STAGE_NAMES, *MOVED, *SIZES),
        *("paper: error", "paper: params (M)"),
    )
    learned = [r for r in rows if r["row"]["grouping"] == "learned"]
    how = command("table2", learned, {"rows": ("split", SPLITS)})
    return f"{markdown(header, lines)}\n\n{how}"


SIZES = ("params (M)", "GFLOPs")


def sizes(found: list[dict]) -> list[str]:
    """Parameters and FLOPs."""
    return [
        spread([r.get("params") for r in found], 1e-6, 4),
        spread([r.get("flops") for r in found], 1e-9, 4),
    ]


def _published(split: str) -> tuple[str, str]:
    if split not in PARAMS:
        return ("-", "-")
    return f"{ERRORS[split, 'learned']:.2f}", f"{PARAMS[split]:.2f}"


def table1(rows: list[dict]) -> str:
    """Learned against given groups; empty where no row has given ones."""
    lines = []
    for split in SPLITS:
        if not any(chosen(rows, split, g) for g in GROUPINGS[1:]):
            continue
        for grouping in GROUPINGS:
            found = chosen(rows, split, grouping)
            if found:
                lines.append(
                    (
                        *(split, grouping, *stages(found), *moves(found)),
                        spread([r.get("nmi") for r in found], 1, 3),
                        spread([r.get("random_nmi") for r in found], 1, 3),
                        f"{ERRORS[split, grouping]:.2f}",
                    )
                )
    header = (
        *("", "classes", *STAGE_NAMES, *MOVED, "NMI"),
        *("of random groups", "paper: error"),
    )
    split = [r for r in rows if r["row"]["split"] not in WHOLE]
    flags = {"splits": ("split", SPLITS), "groupings": ("grouping", GROUPINGS)}
    return f"{markdown(header, lines)}\n\n{command('table1', split, flags)}" if lines else ""


def table5(document: dict) -> str:
    """Speed-ups of parallel evaluation."""
    rows = [
        (
            *(r["name"], f"{r['ms_per_image']:.2f}", f"{100 * r['spread']:.0f}%"),
            *(f"{r['speed_up']:.2f}x", f"{r['bound']:.2f}x"),
            f"{r['paper']:.2f}x" if r["paper"] else "",
        )
        for r in document["rows"]
    ]
    header = ("", "ms/image", "spread", "speed-up", "bound by FLOPs", "paper, GPUs")
    where = (
        f"{document['model']}, batch {document['batch_size']}, on {', '.join(document['devices'])}"
    )
    return f"{where}.\n\n{markdown(header, rows)}\n\n```sh\npython {document['command']}\n```"


def comparison(document: dict) -> str:
    """Table 1 as ``splitnet-compare`` found it, with its command."""
    lines = []
    for row in document["rows"]:
        runs = row["runs"]
        lines.append(
            (
                row["grouping"],
                spread([r["error"] for r in runs]),
                _plus_minus(row.get("better"), row.get("better_spread")),
                spread([r["error_after_cut"] for r in runs]),
                spread([r["error_before"] for r in runs]),
                spread([r["nmi"] for r in runs], 1, 3),
                spread([r["random_nmi"] for r in runs], 1, 3),
                spread([r["params"] / 1e6 for r in runs], 1, 4),
            )
        )
    header = (
        *("classes", "error (%)", "below random by, seed by seed", "after the cut", "before"),
        *("NMI", "of random groups"),
    )
    seeds = ",".join(map(str, document["seeds"]))
    command = " \\\n  ".join(
        [
            f"python -m splitnet_tf.cli.compare --dataset={document['dataset']} --seeds={seeds}",
            *(
                f'--{name}="{document[name]}"'
                for name in ("plain_flags", "group_flags", "split_flags")
                if document.get(name)
            ),
            "--train_dir=runs/compare",
        ]
    )
    return f"{markdown((*header, 'params (M)'), lines)}\n\n```sh\n{command}\n```"


def _plus_minus(mean: float | None, deviation: float | None) -> str:
    if mean is None:
        return "-"
    return f"{100 * mean:.2f}" + (f" ± {100 * deviation:.2f}" if deviation is not None else "")


def setup(rows: list[dict]) -> str:
    """What rows were made of, on what."""
    scale = rows[0]["row"]["scale"]
    recipe = rows[0]["recipe"]
    phases = ", ".join(
        f"{name} {recipe[name]['epochs']:g}" for name in ("plain", "group", "finetune")
    )
    seeds = sorted({r["row"]["seed"] for r in rows})
    places = sorted({f"{r['backend']} on {r['device']}, {r['precision']}" for r in rows})
    return (
        f"WRN-{recipe['depth']}-{recipe['width']} on {rows[0]['data']}, batch "
        f"{recipe['batch_size']}; epochs: {phases} (baseline {recipe['plain']['epochs']:g} + "
        f"{recipe['baseline']['epochs']:g}); seeds {', '.join(map(str, seeds))}; "
        f"{'; '.join(places)}. All settings: `experiments/recipe.py`, scale `{scale}`."
    )


def command(
    program: str, rows: list[dict], flags: Mapping[str, tuple[str, Iterable[str]]] = {}
) -> str:
    """How rows are made again; ``flags`` has a row's field, and its values in order, for each."""
    seeds = sorted({r["row"]["seed"] for r in rows})
    words = [f"python -m experiments.{program} --scale={rows[0]['row']['scale']}"]
    for name, (field, known) in {"seeds": ("seed", seeds), **flags}.items():
        given = {r["row"][field] for r in rows}
        words.append(f"--{name}={','.join(str(v) for v in known if v in given)}")
    return f"```sh\n{' '.join(words)}\n```"


def places(rows: list[dict]) -> list[list[dict]]:
    """Rows that may be averaged: of one backend and one precision."""
    found: dict[tuple[str, str], list[dict]] = {}
    for row in rows:
        found.setdefault((row["backend"], row["precision"]), []).append(row)
    return [found[place] for place in sorted(found)]


def swept(by_scale: dict[str, list[dict]]) -> list[dict]:
    """The rows of the sweep, if there are variants and what they are compared with."""
    rows = max(places(by_scale.get(SWEPT, [])), key=len, default=[])
    return rows if points(rows) and any("error" in r for r in chosen(rows, "deep")) else []


def sweeps(rows: list[dict]) -> str:
    """Sensitivity: a table of all settings that were changed."""
    base, lines = chosen(rows, "deep"), []
    for name, found in (
        ("whole network", chosen(rows, "baseline")),
        ("a narrower one", chosen(rows, "slim")),
        ("as it is", base),
    ):
        lines.append((name, "", *_line(found)))
    for name, values in points(rows).items():
        default = value_of(SCALES[SWEPT], name)
        for value, found in values.items():
            lines.append((f"`{name}`", f"{value} instead of {default}", *_line(found)))
    header = (
        *("setting", "value", "validation error (%)", *STAGE_NAMES),
        *("NMI", *MOVED, *SIZES),
    )
    return markdown(header, lines)


def _line(found: list[dict]) -> list[str]:
    return [
        spread([r.get("valid_error") for r in found]),
        *stages(found),
        spread([r.get("nmi") for r in found], 1, 3),
        *moves(found),
        *sizes(found),
    ]


def document(
    by_scale: dict[str, list[dict]],
    by_scale5: dict[str, dict],
    comparisons: list[dict],
    remarks: str,
) -> str:
    """docs/results.md."""
    parts = [
        "# The paper's tables, measured",
        "Written by `python -m experiments.results` from the rows in `experiments/rows`; error is "
        "the test error, mean ± standard deviation over seeds; published figures are of WRN-16-8; "
        "`slim` is a whole network, narrower throughout, its parameters as near to the deep "
        "tree's as a width can bring them. Of the 50,000 training images 5,000 are for "
        "validation; the 10,000 of the test decide nothing.",
        remarks.strip(),
    ]
    for scale, rows in ((s, p) for s, r in by_scale.items() if s != SWEPT for p in places(r)):
        tables = (
            ("Table 2: whole and split", table2(rows)),
            ("Table 1: learned and given groups of the classes", table1(rows)),
        )
        tables = [t for t in tables if t[1]]
        if tables:
            parts += [f"## Scale `{scale}`", setup(rows)]
        for title, table in tables:
            parts += [f"### {title}", table]
    rows = swept(by_scale)
    if rows:
        parts += [
            "## Sensitivity",
            f"{setup(chosen(rows, 'deep'))} One setting changed at a time, deep split; "
            "`plain.epochs` and `group.epochs` take theirs from the finetuning, and a tree from "
            "scratch is finetuned for all of them. Settings are chosen by the validation error.",
        ]
        parts += [sweeps(rows), "![Sensitivity](sensitivity.png)", command("sweep", rows)]
    gaps = gap_lines(rows)
    if len(gaps) > 1:
        parts += [
            "## The gap by width and by length",
            "What the deep tree lacks of the whole network, both with the recipe of the sweep; for "
            "more epochs every phase is longer.",
            *(markdown(GAP_HEADER, gaps), command("gap", rows)),
        ]
    for found in comparisons:
        parts += ["## Table 1 by `splitnet-compare`", comparison(found)]
    for scale, found in by_scale5.items():
        parts += [f"## Table 5, scale `{scale}`", table5(found)]
    return "\n\n".join(parts) + "\n"


def main() -> None:
    for path in collect(Path(FLAGS.runs)):
        logging.info("collected %s", path)
    by_scale = read_rows()
    remarks = REMARKS.read_text(encoding="utf-8")
    text = document(by_scale, read_table5(), read_comparisons(), remarks)
    write_atomically(DOCS / "results.md", text.encode())
    rows = swept(by_scale)
    if rows:
        draw(chosen(rows, "deep"), rows, DOCS / "sensitivity.png")
    print(f"Written: {DOCS / 'results.md'}")


if __name__ == "__main__":
    define_text("runs", "runs/experiments", "Folder of all runs, or a copy of it.")
    run_program(main)
