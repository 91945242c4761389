"""The tables of structured sparsity (SSL), one row at a time: MNIST here, CIFAR-10 beside it."""

from __future__ import annotations

import functools
import logging
import statistics
from collections.abc import Sequence
from pathlib import Path

from absl import flags

from experiments.ssl_cifar import cifar_section
from experiments.ssl_rows import (
    BATCH,
    BY_NAME,
    CIFAR10,
    CONTROL_SEEDS,
    MNIST,
    ROWS,
    Phases,
    SslRow,
)
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
    *("random: error (%)", "narrow: error (%)", "minutes"),
    *("goal: error (%)", "goal: multiply-adds (%)", "the paper kept"),
)

SPEED_HEADER = (
    *("batch", "layer", "product before", "after", "multiply-adds (%)", "before (ms)"),
    *("after (ms)", "times as fast", "l1: weights left (%)", "l1: times as fast"),
)


def ssl_section(documents: Sequence[dict]) -> list[str]:
    """The part of docs/results.md on MNIST; empty without its rows."""
    by_row = [
        (row, [d for d in documents if d["row"] == row.name]) for row in ROWS if row.data == MNIST
    ]
    lines = [_line(row, own) for row, own in by_row if own]
    if not lines:
        return []
    missing = [row.name for row, own in by_row if not own]
    absent = f"Rows without a run so far: {', '.join(missing)}. " if missing else ""
    alone = [
        row.name
        for row, own in by_row
        if own and row.strengths and "units" in own[0] and not any("error_narrow" in d for d in own)
    ]
    absent += f"Rows without controls so far: {', '.join(alone)}. " if alone else ""
    missed = [
        f"`{row.name}` ({mean:.2f} against {row.error:g})"
        for row, own in by_row
        if own and row.error and (mean := statistics.fmean(d["error"] for d in own)) > row.error
    ]
    absent += f"The mean error is above the goal in {', '.join(missed)}. " if missed else ""
    plain, sparse, tuned = (f"{p.epochs:g}" for p in (PHASES.plain, PHASES.sparse, PHASES.finetune))
    used = [d for _, own in by_row for d in own]
    seeds = sorted({d["seed"] for d in used})
    devices = "; ".join(sorted({d["device"] for d in used}))
    return [
        "## Structured sparsity (SSL)",
        f"MNIST, pixels from 0 to 1, batch {BATCH}; LeNet {plain} epochs plain, {sparse} sparse, "
        f"{tuned} of finetuning, the perceptron 10, 12 and 20; tensorflow on {devices}. Of the "
        "60,000 training images 6,000 are for validation; errors are those of the 10,000 test "
        "images. All settings: `experiments/ssl_rows.py`.",
        "\n".join(
            [
                "- `random` keeps as many channels of the plain network, chosen at random and "
                "finetuned for as many epochs in all. Rows that cut columns have none, as no "
                "choice of channels has their size.",
                "- `narrow` has the shapes of the row from the start, with new weights, and trains "
                "as long. Where columns are cut, it takes over which of them: the pixels that "
                "`mlp-2` and `mlp-3` read, the positions of `lenet-4` and `lenet-5`.",
                "- In nearly every run the sparse phase leaves more channels or columns than the "
                "row may have; those with the smallest norms go as well, before the finetuning.",
                "- In the finetuning `mlp-2` drops 15% and `mlp-3` 10% of its units, which before "
                "are 25%, and `mlp-3` has an L2 of 1e-4: chosen by the validation error of seed 0.",
                "- The third seed of `lenet-shifted` diverged in the plain phase, at a rate of "
                "0.05, and is left out.",
                f"- Controls are of seed {', '.join(map(str, CONTROL_SEEDS))}, and of more seeds "
                "where they have a deviation.",
                "- `lenet-shifted` trains on images shifted by up to a pixel, `lenet-l1` lets "
                "single weights become zero.",
                "- Goals are the paper's rows, or the best published figures.",
                "- Minutes are those of all training of a row, controls included, on a core that "
                "other programs used as well, at times alone.",
            ]
        ),
        markdown(HEADER, lines),
        f"{absent}Of the paper's other tables, AlexNet on ImageNet has not been measured.",
        shell_block(
            f"python -m experiments.ssl_tables --rows={_chosen([line[0] for line in lines])} "
            f"--seeds={','.join(map(str, seeds))}"
        ),
    ]


def _chosen(names: list[str]) -> str:
    """The value that chooses rows of MNIST."""
    return MNIST if set(names) == {r.name for r in ROWS if r.data == MNIST} else ",".join(names)


def _line(row: SslRow, own: list[dict]) -> tuple[str, ...]:
    shares = "weights_left" if "weights_left" in own[0] else "layers"
    kept = [", ".join(f"{i}x{o}" for i, o in d["units"].values()) for d in own if "units" in d]
    goals = row.flops if isinstance(row.flops, tuple) else [row.flops]
    return (
        row.name,
        str(len(own)),
        *(spread([d.get(f"error{name}") for d in own], 1) for name in ("", "_shrunk")),
        "; ".join(dict.fromkeys(kept)) or "-",
        ", ".join(f"{n} {spread([d[shares][n] for d in own], 1, 1)}" for n in own[0][shares]),
        spread([d.get("whole") for d in own], 1, 1),
        *(spread([d.get(f"error_{name}") for d in own], 1) for name in ("random", "narrow")),
        spread([d["minutes"] for d in own], 1, 1),
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


def read_speed(rows: Path = COLLECTED) -> dict | None:
    """Times by ``splitnet-benchmark --cases=shrunk --output_file=<rows>/speed.json``, if any."""
    path = rows / "speed.json"
    return read_json(path) if path.exists() else None


def speed_section(document: dict | None) -> list[str]:
    """The part of docs/results.md on speed; empty without times."""
    if document is None:
        return []
    machine = document["machine"]
    lines = [
        (
            *(str(found["batch"]), found["layer"]),
            *("x".join(map(str, found[when] or [])) or "-" for when in ("before", "after")),
            f"{100 * found['share']:.1f}",
            *(f"{1000 * found['seconds'][name]:.3f}" for name in ("whole", "shrunk")),
            f"{found['speed']['shrunk']:.2f}",
            f"{100 * found['left']:.1f}" if found["left"] is not None else "-",
            f"{found['speed']['l1']:.2f}" if "l1" in found["speed"] else "-",
        )
        for found in document["layers"]
    ]
    return [
        "### Speed, layer by layer",
        "`lenet-whole`, seed 0: products of the lowered kernels (filters x columns x places) and a "
        f"forward pass of the network, {document['repeats']} interleaved rounds, median; "
        f"{machine['threads']} thread of {machine['processor']}, NumPy, TensorFlow "
        f"{machine['tensorflow']}. `lenet-l1` has single weights at zero, multiplied as SciPy's "
        "sparse matrices (CSR).",
        markdown(SPEED_HEADER, lines),
        shell_block(
            "splitnet-benchmark --cases=shrunk --repeats=101 --model=whole.keras",
            "--shrunk=small.keras --unstructured=l1.keras",
        ),
    ]


def main() -> None:
    load = functools.cache(load_dataset)
    found = []
    for seed in map(int, FLAGS.seeds):
        for row in (r for r in ROWS if {r.name, r.data} & {*FLAGS.rows}):
            data = load(row.data, FLAGS.data_dir)
            found.append(run_row(row, seed, data, Path(FLAGS.runs)))
            logging.info("%s, seed %d: error %.2f%%", row.name, seed, found[-1]["error"])
    print("\n\n".join([*ssl_section(found), *cifar_section(found)]))


if __name__ == "__main__":
    define_list(
        *("rows", [MNIST, CIFAR10], "Rows to run, by name or by data set."),
        flags.EnumParser([MNIST, CIFAR10, *BY_NAME]),
    )
    define_list("seeds", ["0", "1", "2"], "Seeds of each row.", Number(int, 0, 2**31 - 1))
    define_text("data_dir", None, "Folder of the data. Defaults to ~/tensorflow_datasets.")
    define_text(
        "runs", "runs/experiments/ssl", "Folder of all runs. The same command again continues."
    )
    run_program(main)
