"""The table of teachers: trees and narrowed networks with and without one."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from absl import flags

from experiments.program import check_choice, chosen_seeds
from experiments.recipe import recipe_document
from experiments.tables import markdown, shell_block, spread
from experiments.teacher_rows import BY_NAME, RECIPE, ROWS, TAUGHT, TaughtRow, run_row
from splitnet_tf.cli.define import Number, define_list, define_text
from splitnet_tf.cli.program import run_program
from splitnet_tf.data import load_dataset
from splitnet_tf.storage.json_files import read_json, write_json

FLAGS = flags.FLAGS
COLLECTED = Path(__file__).with_name("rows") / "teacher"
HEADER = (
    *("row", "seeds", "test error (%)", "validation error (%)", "before the cut", "after the cut"),
    *("NMI", "classes that moved (%)", "features (%)", "R_W at the start", "at the cut"),
    *("params (M)", "GFLOPs", "epochs in all", "minutes in all"),
)


def teacher_section(documents: Sequence[dict]) -> list[str]:
    """The section of docs/results.md; empty without rows. It names the rows that are missing."""
    by_row = [(row, [d for d in documents if d["row"] == row.name]) for row in ROWS]
    lines = [_line(row, own) for row, own in by_row if own]
    if not lines:
        return []
    plain, group, tune, more = (
        f"{p.epochs:g}" for p in (RECIPE.plain, RECIPE.group, RECIPE.finetune, RECIPE.baseline)
    )
    missing = [row.name for row, own in by_row if not own]
    seeds = sorted({d["seed"] for d in documents})
    devices = ", ".join(sorted({d["device"] for d in documents}))
    rows = ",".join(line[0] for line in lines)
    return [
        "## Trees with a teacher",
        f"WRN-{RECIPE.depth}-{RECIPE.width} on CIFAR-100, deep split (2-2-2), bfloat16, batch "
        f"{RECIPE.batch_size}, tensorflow on {devices}, which other work shared, so minutes are an "
        f"upper bound. One whole network is trained for {plain} epochs. Trees are cut from it after"
        f" {group} epochs of grouping and finetuned for {tune}. `teacher`: the whole network "
        f"teaches (weight {TAUGHT.weight:g}, temperature {TAUGHT.temperature:g}); `groups`: a loss "
        "on the groups of weight 0.5; `semantic`, `random`, `worst`: groups of the classes that are"
        " given, the last with every superclass torn apart; `exchange`, `gates`: settings that let "
        f"groups move. `narrowed` has the tree's parameters and is trained for {plain} epochs and "
        f"{more} more, `whole-longer` is the whole network after {more} more. Errors before and "
        "after the cut are test errors, the second with batch norms re-estimated.",
        markdown(HEADER, lines),
        *([f"Rows that were not measured: {', '.join(missing)}."] if missing else []),
        shell_block(
            "python -m splitnet_tf.cli.group --dataset=cifar100 --model=wrn-10-2 --splits=1-1-1",
            f"--epochs={plain} --final_lr=0 --batch_size={RECIPE.batch_size} --l2_weight=0.0005",
            "--dropout_keep_prob=1 --bn_no_scale=False --bfloat16 --seed=0 --train_dir=runs/whole",
        ),
        shell_block(
            f"python -m experiments.teacher --whole=runs/whole --rows={rows} "
            f"--seeds={','.join(map(str, seeds))}"
        ),
    ]


def _line(row: TaughtRow, own: list[dict]) -> tuple[str, ...]:
    names = ("error", "valid_error", "error_before", "error_after_cut")
    moved, weights = ([d.get(n) for d in own if n in d] for n in ("moved", "group_weight"))
    return (
        *(row.name, str(len(own)), *(spread([d.get(name) for d in own]) for name in names)),
        spread([d.get("nmi") for d in own], 1, 3),
        *(spread([m[kind] for m in moved], 100, 0) for kind in ("classes", "features")),
        *(spread([w[i] for w in weights], 1, 3) for i in range(2)),
        spread([d["params"] for d in own], 1e-6, 4),
        spread([d["flops"] for d in own], 1e-9, 4),
        *(spread([d[n] for d in own], 1, k) for n, k in (("epochs", 1), ("minutes", 0))),
    )


def collect_teacher(runs: Path, rows: Path = COLLECTED) -> list[Path]:
    """Copies finished rows of today's recipe that are new or changed; the files written."""
    written = []
    for path in sorted(runs.glob("row-*.json")):
        document, target = read_json(path), rows / path.name.removeprefix("row-")
        if is_of_today(document) and (not target.exists() or read_json(target) != document):
            write_json(target, document)
            written.append(target)
    return written


def is_of_today(document: dict) -> bool:
    """True for rows of today's recipe."""
    return document["row"] in BY_NAME and document["recipe"] == recipe_document(RECIPE)


def read_teacher(rows: Path = COLLECTED) -> list[dict]:
    """The rows that were collected."""
    return [read_json(path) for path in sorted(rows.glob("*-seed*.json"))]


def main() -> None:
    names = check_choice("rows", BY_NAME)
    data = load_dataset("cifar100", FLAGS.data_dir)
    for seed in chosen_seeds():
        for name in names:
            found = run_row(BY_NAME[name], seed, data, Path(FLAGS.whole), Path(FLAGS.runs))
            print(f"{name}, seed {seed}: test error {100 * found['error']:.2f}%", flush=True)


if __name__ == "__main__":
    define_text("whole", None, "Run folder of the whole network, a plain run.", required=True)
    define_text("data_dir", None, "Folder of CIFAR-100. Defaults to ~/tensorflow_datasets.")
    define_text("runs", "runs/experiments/teacher", "Folder of all runs.")
    define_list("rows", list(BY_NAME), "Rows of the table.")
    define_list("seeds", ["0"], "Seeds of each row.", Number(int, 0, 2**31 - 1))
    run_program(main)
