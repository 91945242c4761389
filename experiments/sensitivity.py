"""How much each setting of a recipe matters, from the rows of a sweep."""

from __future__ import annotations

import statistics
from pathlib import Path

from experiments.recipe import SCALES, value_of
from experiments.tables import (
    MOVED,
    SIZES,
    STAGE_NAMES,
    chosen,
    command_block,
    count_seeds,
    markdown,
    moves,
    setup,
    sizes,
    spread,
    stages,
)
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
    return {name: dict(sorted(found[name].items(), key=_order)) for name in sorted(found)}


def _order(item):
    try:
        return (0, float(item[0]), "")
    except ValueError:
        return (1, 0.0, item[0])


def sensitivity_section(rows: list[dict]) -> list[str]:
    """Of docs/results.md; empty without variants, or without what they are compared with.

    Args:
      rows: of the sweep, of one backend and precision.
    """
    rows, settings = of_the_sweep(rows), points(rows)
    base = chosen(rows, "deep")
    if not settings or not any(ERROR in r for r in base):
        return []
    lines = [
        ("whole network", "", *_line(chosen(rows, "baseline"), base)),
        ("a narrower one", "", *_line(chosen(rows, "slim"), base)),
        ("as it is", "", *_line(base, base)),
    ]
    for name, values in settings.items():
        default = value_of(SCALES["sweep"], name)
        for value, found in values.items():
            lines.append((f"`{name}`", f"{value} instead of {default}", *_line(found, base)))
    header = (
        *("setting", "value", "seeds", "above as it is", "error (%)", *STAGE_NAMES),
        *("NMI", *MOVED, *SIZES),
    )
    return [
        "## Sensitivity",
        f"{setup(base)} One setting changed at a time, deep split; `plain.epochs` and "
        "`group.epochs` take theirs from the finetuning, and a tree from scratch is finetuned for "
        "all of them. All errors are those of the validation images, by which settings are "
        "chosen; `above as it is` compares runs of one seed.",
        markdown(header, lines),
        f"![Sensitivity]({picture_name(rows)})",
        "Every point is a seed; red is the recipe as it is. What lies in the grey band, two "
        f"standard errors of the difference of two errors on {IMAGES:,} images, may well be "
        "chance. Errors far above it are at the upper edge, with their value.",
        command_block(
            "sweep",
            rows,
            {"settings": [n for n in SWEEPS if n in settings]},
        ),
    ]


def of_the_sweep(rows: list[dict]) -> list[dict]:
    """Without those of the gap's program: of the seeds with which settings were changed alone."""
    seeds = {r["row"]["seed"] for found in points(rows).values() for v in found.values() for r in v}
    return [
        r
        for r in rows
        if r["row"]["seed"] in seeds and r["row"]["variant"].partition("=")[0] not in GAPS
    ]


def picture_name(rows: list[dict]) -> str:
    """Of the plots of rows of one backend and precision."""
    return f"sensitivity-{rows[0]['backend']}-{rows[0]['precision']}.png"


def _line(found: list[dict], base: list[dict]) -> list[str]:
    usual = {r["row"]["seed"]: r[ERROR] for r in base if ERROR in r}
    both = [r for r in found if ERROR in r and r["row"]["seed"] in usual]
    return [
        count_seeds(found),
        spread([r[ERROR] - usual[r["row"]["seed"]] for r in both]),
        *stages(found, ERROR),
        spread([r.get("nmi") for r in found], 1, 3),
        *moves(found),
        *sizes(found),
    ]


def draw(rows: list[dict], path: Path) -> None:
    """A small plot for each setting: the validation error of every seed and their mean.

    The band is that of the recipe as it is, give or take two standard errors of the difference of
    two errors on 5,000 images: what lies inside may well be chance. Errors far above it are at the
    upper edge, with their value.

    Args:
      rows: of one backend and precision; those that failed are left out.
      path: of the picture.
    """
    from matplotlib.figure import Figure

    base = [r for r in chosen(of_the_sweep(rows), "deep") if ERROR in r]
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
        values = dict(sorted({**values, str(default): base}.items(), key=_order))
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
