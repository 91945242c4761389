"""The tables of structured sparsity (SSL): LeNet and a perceptron on MNIST, one row at a time."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

from absl import flags

from experiments.ssl_rows import BATCH, BY_NAME, FINETUNE, PLAIN, ROWS, SPARSE
from experiments.ssl_run import run_row
from experiments.tables import markdown, shell_block, spread
from splitnet_tf.cli.define import Number, define_list, define_text
from splitnet_tf.cli.program import run_program
from splitnet_tf.data import load_dataset
from splitnet_tf.storage.json_files import read_json, write_json

FLAGS = flags.FLAGS
COLLECTED = Path(__file__).with_name("rows") / "ssl"
HEADER = (
    *("row", "seeds", "error (%)", "before finetuning", "kept of each layer (inputs x outputs)"),
    *("multiply-adds of each layer (%)", "of all (%)", "random channels: error", "narrow: error"),
    *("goal: error", "goal: multiply-adds (%)", "the paper kept"),
)


def ssl_section(documents: Sequence[dict]) -> list[str]:
    """The section of docs/results.md; empty without rows."""
    lines = [_line(row.name, own) for row in ROWS if (own := _own(documents, row.name))]
    if not lines:
        return []
    names = [line[0] for line in lines]
    seeds = sorted({d["seed"] for d in documents})
    devices = "; ".join(sorted({d["device"] for d in documents}))
    return [
        "## Structured sparsity (SSL)",
        f"MNIST, pixels from 0 to 1, batch {BATCH}; {PLAIN.epochs:g} epochs plain, "
        f"{SPARSE['epochs']} sparse, {FINETUNE.epochs:g} of finetuning, rate {PLAIN.rate:g} and "
        f"half a cosine in each, no L2; tensorflow on {devices}. Of the 60,000 training images "
        "6,000 are for validation. Errors are those of the 10,000 test images. `random channels` "
        "are as many of the plain network's, finetuned for as many epochs in all; `narrow` is a "
        "network of that size from the start. `lenet-shifted` trains on images shifted by up to "
        "a pixel. Goals are the paper's row, or the best published for the last two of LeNet. "
        "All settings: `experiments/ssl_rows.py`.",
        markdown(HEADER, lines),
        shell_block(
            f"python -m experiments.ssl_tables --rows={','.join(names)} "
            f"--seeds={','.join(map(str, seeds))}"
        ),
    ]


def _own(documents: Sequence[dict], name: str) -> list[dict]:
    return [d for d in documents if d["row"] == name]


def _line(name: str, own: list[dict]) -> tuple[str, ...]:
    row = BY_NAME[name]
    layers = list(own[0]["layers"])
    return (
        name,
        str(len(own)),
        spread([d["error"] for d in own], 1),
        spread([d.get("error_shrunk") for d in own], 1),
        "; ".join(", ".join(f"{i}x{o}" for i, o in d["units"].values()) for d in own),
        ", ".join(f"{x} {spread([d['layers'][x] for d in own], 1, 1)}" for x in layers),
        spread([d["whole"] for d in own], 1, 1),
        *(spread([d.get("controls", {}).get(c) for d in own], 1) for c in ("random", "narrow")),
        f"{row.error:g}",
        f"all {row.whole:g}" if row.whole else "-".join(f"{x:g}" for x in row.flops.values()),
        row.left or "-",
    )


def collect_ssl(runs: Path, rows: Path = COLLECTED) -> list[Path]:
    """Copies finished rows of today's settings that are new or changed; the files written."""
    written = []
    for path in sorted(runs.glob("*/row.json")):
        document = read_json(path)
        row = BY_NAME.get(document["row"])
        target = rows / f"{document['row']}-seed{document['seed']}.json"
        if row is None or not is_of_today(document):
            logging.warning("%s is left out: of other settings.", path)
        elif not target.exists() or read_json(target) != document:
            write_json(target, document)
            written.append(target)
    return written


def is_of_today(document: dict) -> bool:
    """True for rows with the strengths and the phases of today."""
    row = BY_NAME.get(document["row"])
    wanted = {"strengths": {s: dict(v) for s, v in row.strengths.items()}, "most": dict(row.most)}
    return row is not None and wanted.items() <= document.items()


def read_ssl(rows: Path = COLLECTED) -> list[dict]:
    """The rows that were collected, of today's settings alone."""
    found = [read_json(path) for path in sorted(rows.glob("*.json"))]
    return [document for document in found if is_of_today(document)]


def main() -> None:
    data = load_dataset("mnist", FLAGS.data_dir)
    found = []
    for seed in map(int, FLAGS.seeds):
        for name in FLAGS.rows:
            found.append(run_row(BY_NAME[name], seed, data, Path(FLAGS.runs)))
            logging.info("%s", " | ".join(_line(name, found[-1:])))
    print("\n\n".join(ssl_section(found)))


if __name__ == "__main__":
    define_list("rows", list(BY_NAME), f"Rows to run, of {', '.join(BY_NAME)}.")
    define_list("seeds", ["0", "1", "2"], "Seeds of each row.", Number(int, 0, 2**31 - 1))
    define_text("data_dir", None, "Folder of MNIST. Defaults to ~/tensorflow_datasets.")
    define_text(
        "runs", "runs/experiments/ssl", "Folder of all runs. The same command again continues."
    )
    run_program(main)
