"""Sensitivity to each setting of a recipe, from the rows of a sweep."""

from __future__ import annotations

import statistics
from pathlib import Path

from experiments import tables
from experiments.recipe import SCALES, value_of
from experiments.variants import GAPS, SWEEPS

ERROR = "valid_error"
IMAGES = 5_000  # of CIFAR-100 for validation
FARTHEST = 5.0  # points above the recipe as it is, in a plot
AT_A_POINT = {"textcoords": "offset points", "fontsize": 8}


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
        f"![Sensitivity]({picture_name(rows)})",
        "Every point is a seed; red is the recipe as it is. What lies in the grey band, two "
        f"standard errors of the difference of two errors on {IMAGES:,} images, may well be "
        "chance. Errors far above it are at the upper edge, with their value.",
        tables.command_block("sweep", rows, {"settings": [n for n in SWEEPS if n in settings]}),
    ]


def of_the_sweep(rows: list[dict]) -> list[dict]:
    """Rows of seeds with which settings were changed, without those of the gap's program."""
    seeds = {r["row"]["seed"] for found in points(rows).values() for v in found.values() for r in v}
    found = [r for r in rows if r["row"]["variant"].partition("=")[0] not in GAPS]
    return [r for r in found if r["row"]["seed"] in seeds]


def picture_name(rows: list[dict]) -> str:
    """The file of the plots of rows of one backend and precision."""
    return f"sensitivity-{rows[0]['backend']}-{rows[0]['precision']}.png"


def _line(found: list[dict], base: list[dict]) -> list[str]:
    usual = {r["row"]["seed"]: r[ERROR] for r in base if ERROR in r}
    both = [r for r in found if ERROR in r and r["row"]["seed"] in usual]
    above = tables.spread([r[ERROR] - usual[r["row"]["seed"]] for r in both])
    nmi = tables.spread([r.get("nmi") for r in found], 1, 3)
    rest = (*tables.moves(found), *tables.sizes(found))
    return [tables.count_seeds(found), above, *tables.stages(found, ERROR), nmi, *rest]


def draw(rows: list[dict], path: Path) -> None:
    """A small plot for each setting: the validation error of every seed and their mean.

    The text of ``sensitivity_section`` says what is to be seen.

    Args:
      rows: rows of one backend and precision; those that failed are left out.
      path: path of the picture.
    """
    from matplotlib.figure import Figure

    base = [r for r in tables.chosen(of_the_sweep(rows), "deep") if ERROR in r]
    settings = points([r for r in rows if ERROR in r])
    if not settings or not base:
        return
    columns = 4
    lines = -(-len(settings) // columns)
    figure = Figure(figsize=(3.0 * columns, 2.3 * lines), layout="constrained")
    grid = figure.subplots(lines, columns, sharey=True, squeeze=False)
    usual = statistics.fmean(r[ERROR] for r in base)
    chance = 2 * (2 * usual * (1 - usual) / IMAGES) ** 0.5
    highest = 100 * usual + FARTHEST
    for axes, (name, values) in zip(grid.flat, settings.items(), strict=False):
        default = value_of(SCALES["sweep"], name)
        values = _in_order({**values, str(default): base})
        means = [100 * statistics.fmean(r[ERROR] for r in v) for v in values.values()]
        shown = [min(mean, highest) for mean in means]
        places = range(len(values))
        axes.axhspan(100 * (usual - chance), 100 * (usual + chance), color="0.9")
        axes.plot(places, shown, color="#4878a8", marker="_", ms=14)
        for place, (value, found) in enumerate(values.items()):
            errors = [min(100 * r[ERROR], highest) for r in found]
            if means[place] > highest:
                axes.annotate(f"{means[place]:.0f}", (place, highest), (-26, -3), **AT_A_POINT)
            color = "#c44e52" if value == str(default) else "#4878a8"
            axes.plot([place] * len(errors), errors, "o", ms=4, color=color)
        axes.set_xticks(places, list(values))
        axes.set_title(name, fontsize=10)
        axes.grid(axis="y", alpha=0.3)
    for axes in grid[:, 0]:
        axes.set_ylabel("validation error (%)")
    for axes in list(grid.flat)[len(settings) :]:
        axes.set_visible(False)
    figure.savefig(path, dpi=120)
