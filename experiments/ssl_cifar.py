"""The tables of structured sparsity on CIFAR-10: ConvNet by rows and columns, ResNets by depth."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence

from experiments.ssl_rows import CIFAR10, ROWS, SslRow
from experiments.tables import markdown, shell_block, spread

# Rows and columns at zero of the three convolutions, or layers left, and test error: the paper's.
PAPER_ZEROS = {
    "convnet-1": ("12.5-0-0", "0-0-0"),
    "convnet-2": ("50.0-28.1-1.6", "0-59.3-35.1"),
    "convnet-3": ("31.3-0-1.6", "0-42.8-9.8"),
}
PAPER_LAYERS = {"resnet-20": "20", "resnet-14": "14", "resnet-32": "32", "resnet-18": "18"}
ERRORS = ("error (%)", "against its baseline", "before finetuning")
COMMON = ("random: error (%)", "narrow: error (%)", "minutes")
OF_PAPER = ("paper: error (%)", "paper: against its baseline")
CONVNET_HEADER = (
    *("row", "seeds", *ERRORS, "rows at zero, conv1-2-3 (%)", "columns at zero (%)"),
    *("multiply-adds left (%)", *COMMON, *OF_PAPER, "paper: rows at zero (%)"),
    "paper: columns at zero (%)",
)
RESNET_HEADER = (
    *("row", "seeds", *ERRORS, "layers left", "blocks at zero", "blocks left"),
    *("multiply-adds left (%)", *COMMON),
    *(*OF_PAPER, "paper: layers left"),
)


def cifar_section(documents: Sequence[dict]) -> list[str]:
    """The part of docs/results.md on CIFAR-10; empty without its rows."""
    rows = [row for row in ROWS if row.data == CIFAR10]
    by_row = {row.name: [d for d in documents if d["row"] == row.name] for row in rows}
    found = [row for row in rows if by_row[row.name]]
    if not found:
        return []
    tables = []
    for model, header, line in (
        ("convnet", CONVNET_HEADER, _convnet_line),
        ("resnet", RESNET_HEADER, _resnet_line),
    ):
        lines = [line(row, by_row) for row in found if row.model.startswith(model)]
        tables += [markdown(header, lines)] if lines else []
    names = [row.name for row in found]
    missing = [row.name for row in rows if row not in found]
    missed = ", ".join(
        f"{row.name} ({_signed(apart)} against {_signed([of_paper])})"
        for row in found
        if (apart := _apart(row, by_row))
        and statistics.fmean(apart) > (of_paper := row.error - _baseline(row).error)
    )
    used = [d for d in documents if d["row"] in names]
    seeds = ",".join(map(str, sorted({d["seed"] for d in used})))
    return [
        "### CIFAR-10: ConvNet and ResNet",
        "Here CIFAR-10 has 3,000 of its 5,000 training images of each class: 27,000 to train on, "
        "3,000 for validation; errors are those of all 10,000 test images. The paper trains on all "
        "50,000 and for far longer, so compare each network with its own baseline, which has the "
        f"same plain phase and as many epochs ({_epochs(found)}). Batch {found[0].batch_size}, "
        "bfloat16; ResNet with crops and flips, ConvNet without. A row with one seed is an "
        "indication.",
        "\n".join(
            [
                "- Rows at zero are filters, columns are positions of the window in an input "
                "channel over all filters. The penalty acts on both. With a rate of 0.05 the "
                "sparse phase diverged, so these rows go on from the plain phase with 0.02, their "
                "baseline with 0.05.",
                "- `resnet-14` and `resnet-18` are what is left of `resnet-20` and `resnet-32`: "
                "the penalty acts on both convolutions of each block, each with the norm behind it "
                "(`layers`). Where fewer blocks became zero than go, those with the smallest "
                "norms go as well, before the finetuning.",
                "- `random` drops as many blocks, chosen at random, from the plain network; "
                "`narrow` has the row's shape from the start. Both train as long. A dash "
                "stands for what was not trained.",
                *(
                    [f"- Further above their baseline than the paper's: {missed}."]
                    if missed
                    else []
                ),
                *([f"- Rows without a run so far: {', '.join(missing)}."] if missing else []),
            ]
        ),
        *tables,
        shell_block(f"python -m experiments.ssl_tables --rows={','.join(names)} --seeds={seeds}"),
    ]


def _epochs(rows: Sequence[SslRow]) -> str:
    phases = {row.model: row.phases for row in rows}
    return "; ".join(
        f"{model}: {p.plain.epochs:g} plain, {p.sparse.epochs:g} sparse, {p.finetune.epochs:g} of "
        "finetuning"
        for model, p in phases.items()
    )


def _baseline(row: SslRow) -> SslRow:
    """The row of the same network that is not made sparse."""
    return next(r for r in ROWS if r.model == row.model and not r.strengths)


def _errors(row: SslRow, by_row: dict[str, list[dict]]) -> tuple[str, ...]:
    """Seeds, error, its distance from the baseline's seed by seed, and before the finetuning."""
    own, apart = by_row[row.name], _apart(row, by_row)
    return (
        *(row.name, str(len(own)), spread([d["error"] for d in own], 1)),
        _signed(apart) if apart else "-",
        spread([d.get("error_shrunk") for d in own], 1),
    )


def _apart(row: SslRow, by_row: dict[str, list[dict]]) -> list[float]:
    """Error above the baseline's, seed by seed; none for the baseline."""
    baseline = _baseline(row)
    if row is baseline:
        return []
    whole = {d["seed"]: d["error"] for d in by_row[baseline.name]}
    return [d["error"] - whole[d["seed"]] for d in by_row[row.name] if d["seed"] in whole]


def _signed(values: Sequence[float]) -> str:
    text = spread(values, 1)
    return text if text.startswith("-") else f"+{text}"


def _common(row: SslRow, own: list[dict]) -> tuple[str, ...]:
    """Controls, minutes, and the paper's errors."""
    baseline = _baseline(row)
    return (
        *(spread([d.get(f"error_{name}") for d in own], 1) for name in ("random", "narrow")),
        spread([d["minutes"] for d in own], 1, 1),
        f"{row.error:g}",
        "-" if row is baseline else _signed([row.error - baseline.error]),
    )


def _convnet_line(row: SslRow, by_row: dict[str, list[dict]]) -> tuple[str, ...]:
    own = by_row[row.name]
    return (
        *_errors(row, by_row),
        _zeros(own, lambda units, size: 1 - units[1] / size[1]),
        _zeros(own, lambda units, size: 1 - units[0] / size[0]),
        spread([d["whole"] for d in own], 1, 1),
        *_common(row, own),
        *PAPER_ZEROS[row.name],
    )


CONVNET_SIZES = {"conv1": (75, 32), "conv2": (800, 32), "conv3": (800, 64)}


def _zeros(own: list[dict], share: Callable) -> str:
    """Shares at zero of the convolutions in percent, means over seeds."""
    shares = (
        100 * statistics.fmean(share(d["units"][layer], size) for d in own)
        for layer, size in CONVNET_SIZES.items()
    )
    return "-".join(f"{s:.1f}" if s else "0" for s in shares)


def _resnet_line(row: SslRow, by_row: dict[str, list[dict]]) -> tuple[str, ...]:
    own = by_row[row.name]
    layers = [list(d["units"]) for d in own]
    zeros = [len(d["layers_zero"]) // 2 for d in own if "layers_zero" in d]
    blocks = (
        "-".join(str(sum(f"unit_{s}" in n for n in left) // 2) for s in (1, 2, 3))
        for left in layers
    )
    return (
        *_errors(row, by_row),
        spread([len(left) for left in layers], 1, 0),
        spread(zeros, 1, 0),
        "; ".join(blocks),
        spread([d["whole"] for d in own], 1, 1),
        *_common(row, own),
        PAPER_LAYERS[row.name],
    )
