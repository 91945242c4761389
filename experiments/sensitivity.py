"""Sensitivity to each setting of a recipe, from the rows of a sweep."""

from __future__ import annotations

import statistics

from experiments import tables
from experiments.recipe import SCALES, value_of
from experiments.variants import GAPS, SWEEPS

ERROR = "valid_error"
IMAGES = 5_000  # of CIFAR-100 for validation


def points(rows: list[dict]) -> dict[str, dict[str, list[dict]]]:
    """Setting to value to its rows, in the order of the sweep's values."""
    found: dict[str, dict[str, list[dict]]] = {}
    for row in rows:
        name, _, value = row["row"]["variant"].partition("=")
        if value and name not in GAPS:
            found.setdefault(name, {}).setdefault(value, []).append(row)
    return {name: _in_order(found[name]) for name in sorted(found)}


def _in_order(values: dict[str, list[dict]]) -> dict[str, list[dict]]:
    """Numbers by size, then texts."""

    def order(value: str):
        number = value.replace(".", "").isdecimal()
        return (not number, float(value) if number else 0.0, value)

    return {value: values[value] for value in sorted(values, key=order)}


def sensitivity_section(rows: list[dict]) -> list[str]:
    """The section of docs/results.md; empty without variants or what they are compared with.

    Args:
      rows: rows of the sweep, of one backend and precision.
    """
    rows, settings = of_the_sweep(rows), points(rows)
    base = tables.chosen(rows, "deep")
    if not settings or not any(ERROR in r for r in base):
        return []
    usual = statistics.fmean(r[ERROR] for r in base if ERROR in r)
    chance = 2 * (2 * usual * (1 - usual) / IMAGES) ** 0.5
    whole, narrower = tables.chosen(rows, "baseline"), tables.chosen(rows, "slim")
    shown = [("whole network", "", whole), ("a narrower one", "", narrower), ("as it is", "", base)]
    for name, values in settings.items():
        default = value_of(SCALES["sweep"], name)
        shown += [(f"`{name}`", f"{value} instead of {default}", values[value]) for value in values]
    lines = [(name, value, *_line(found, base)) for name, value, found in shown]
    header = (
        *("setting", "value", "seeds", "above as it is", "error (%)", *tables.STAGE_NAMES),
        *("NMI", *tables.MOVED, *tables.SIZES),
    )
    return [
        "## Sensitivity",
        f"{tables.setup(base)} One setting changed at a time, deep split; `plain.epochs` and "
        "`group.epochs` take theirs from the finetuning, and a tree from scratch is finetuned for "
        "all of them. All errors are those of the validation images, by which settings are "
        "chosen; `above as it is` compares runs of one seed.",
        tables.markdown(header, lines),
        f"Differences below {100 * chance:.1f} points may well be chance: two standard errors of "
        f"the difference of two errors on {IMAGES:,} images.",
        tables.command_block("sweep", rows, {"settings": [n for n in SWEEPS if n in settings]}),
    ]


def of_the_sweep(rows: list[dict]) -> list[dict]:
    """Rows of seeds with which settings were changed, without those of the gap's program."""
    seeds = {r["row"]["seed"] for found in points(rows).values() for v in found.values() for r in v}
    found = [r for r in rows if r["row"]["variant"].partition("=")[0] not in GAPS]
    return [r for r in found if r["row"]["seed"] in seeds]


def _line(found: list[dict], base: list[dict]) -> list[str]:
    usual = {r["row"]["seed"]: r[ERROR] for r in base if ERROR in r}
    both = [r for r in found if ERROR in r and r["row"]["seed"] in usual]
    above = tables.spread([r[ERROR] - usual[r["row"]["seed"]] for r in both])
    nmi = tables.spread([r.get("nmi") for r in found], 1, 3)
    rest = (*tables.moves(found), *tables.sizes(found))
    return [tables.count_seeds(found), above, *tables.stages(found, ERROR), nmi, *rest]
