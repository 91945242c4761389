"""The tables of structured sparsity (SSL): LeNet and a perceptron on MNIST, one row at a time."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

from absl import flags

from experiments.ssl_rows import BATCH, BY_NAME, ROWS, Phases, SslRow
from experiments.ssl_run import run_row, settings
from experiments.tables import markdown, shell_block, spread
from splitnet_tf.cli.define import Number, define_list, define_text
from splitnet_tf.cli.program import run_program
from splitnet_tf.data import load_dataset
from splitnet_tf.storage.json_files import read_json, write_json

FLAGS = flags.FLAGS
COLLECTED = Path(__file__).with_name("rows") / "ssl"
PHASES = Phases()
HEADER = (
    *("row", "seeds", "error (%)", "before finetuning", "inputs x outputs of each layer"),
    *("multiply-adds (lenet-l1: weights) of each layer (%)", "of all (%)"),
    *("random: error (%)", "narrow: error (%)"),
    *("goal: error (%)", "goal: multiply-adds (%)", "the paper kept"),
)


def ssl_section(documents: Sequence[dict]) -> list[str]:
    """The section of docs/results.md; empty without rows."""
    by_row = [(row, [d for d in documents if d["row"] == row.name]) for row in ROWS]
    lines = [_line(row, own) for row, own in by_row if own]
    if not lines:
        return []
    plain, sparse, tuned = (f"{p.epochs:g}" for p in (PHASES.plain, PHASES.sparse, PHASES.finetune))
    seeds = sorted({d["seed"] for d in documents})
    devices = "; ".join(sorted({d["device"] for d in documents}))
    return [
        "## Structured sparsity (SSL)",
        f"MNIST, pixels from 0 to 1, batch {BATCH}; {plain} epochs plain, {sparse} sparse, {tuned} "
        f"of finetuning; tensorflow on {devices}. Of the 60,000 training images 6,000 are for "
        "validation; errors are those of the 10,000 test images. `random` keeps as many channels "
        "of the plain network, chosen at random and finetuned for as many epochs in all; `narrow` "
        "is a network of that size from the start, trained as long. `lenet-shifted` trains on "
        "images shifted by up to a pixel, `lenet-l1` lets single weights become zero. Goals are "
        "the paper's rows, or the best published figures. All settings: "
        "`experiments/ssl_rows.py`.",
        markdown(HEADER, lines),
        shell_block(
            f"python -m experiments.ssl_tables --rows={','.join(line[0] for line in lines)} "
            f"--seeds={','.join(map(str, seeds))}"
        ),
    ]


def _line(row: SslRow, own: list[dict]) -> tuple[str, ...]:
    shares = "weights_left" if "weights_left" in own[0] else "layers"
    kept = (", ".join(f"{i}x{o}" for i, o in d.get("units", {}).values()) for d in own)
    goals = row.flops if isinstance(row.flops, tuple) else [row.flops]
    return (
        row.name,
        str(len(own)),
        *(spread([d.get(f"error{name}") for d in own], 1) for name in ("", "_shrunk")),
        "; ".join(kept) or "-",
        ", ".join(f"{n} {spread([d[shares][n] for d in own], 1, 1)}" for n in own[0][shares]),
        spread([d.get("whole") for d in own], 1, 1),
        *(spread([d.get(f"error_{name}") for d in own], 1) for name in ("random", "narrow")),
        f"{row.error:g}" if row.error else "-",
        ", ".join(f"{goal:g}" for goal in goals) if row.flops else "-",
        row.left,
    )


def collect_ssl(runs: Path, rows: Path = COLLECTED) -> list[Path]:
    """Copies finished rows of today's settings that are new or changed; the files written."""
    written = []
    for path in sorted(runs.glob("*/row.json")):
        document = read_json(path)
        target = rows / f"{document['row']}-seed{document['seed']}.json"
        if not is_of_today(document):
            logging.warning("%s is left out: of other settings.", path)
        elif not target.exists() or read_json(target) != document:
            write_json(target, document)
            written.append(target)
    return written


def is_of_today(document: dict) -> bool:
    """True for rows of today's settings."""
    row = BY_NAME.get(document["row"])
    if row is None:
        return False
    return settings(row, document["seed"], document["data_digest"]).items() <= document.items()


def read_ssl(rows: Path = COLLECTED) -> list[dict]:
    """The rows that were collected, of today's settings alone."""
    found = [read_json(path) for path in sorted(rows.glob("*-seed*.json"))]
    return [document for document in found if is_of_today(document)]


def main() -> None:
    data = load_dataset("mnist", FLAGS.data_dir)
    found = []
    for seed in map(int, FLAGS.seeds):
        for name in FLAGS.rows:
            found.append(run_row(BY_NAME[name], seed, data, Path(FLAGS.runs)))
            logging.info("%s", " | ".join(_line(BY_NAME[name], found[-1:])))
    print("\n\n".join(ssl_section(found)))


if __name__ == "__main__":
    define_list("rows", list(BY_NAME), f"Rows to run, of {', '.join(BY_NAME)}.")
    define_list("seeds", ["0", "1", "2"], "Seeds of each row.", Number(int, 0, 2**31 - 1))
    define_text("data_dir", None, "Folder of MNIST. Defaults to ~/tensorflow_datasets.")
    define_text(
        "runs", "runs/experiments/ssl", "Folder of all runs. The same command again continues."
    )
    run_program(main)
