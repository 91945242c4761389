"""How much each setting of a recipe matters, from the rows of a sweep."""

from __future__ import annotations

import statistics
from pathlib import Path

from experiments.recipe import SCALES, value_of
from experiments.variants import GAPS

ERROR = "valid_error"
IMAGES = 5_000  # of CIFAR-100 for validation


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


def draw(base: list[dict], rows: list[dict], path: Path) -> None:
    """A small plot for each setting: the validation error of every seed and their mean.

    The band is that of the recipe as it is, give or take two standard errors of the difference of
    two runs with the same seeds, each on 5,000 images: what lies inside may well be chance.

    Args:
      base: rows of the recipe as it is.
      rows: of all variants; those that collapsed are left out.
      path: of the picture.
    """
    from matplotlib.figure import Figure

    base = [r for r in base if ERROR in r]
    settings = points([r for r in rows if ERROR in r])
    if not settings:
        return
    columns = 4
    lines = -(-len(settings) // columns)
    figure = Figure(figsize=(3.0 * columns, 2.3 * lines), layout="constrained")
    grid = figure.subplots(lines, columns, sharey=True, squeeze=False)
    usual = statistics.fmean(r[ERROR] for r in base)
    chance = 2 * (2 * usual * (1 - usual) / (IMAGES * len(base))) ** 0.5
    for axes, (name, values) in zip(grid.flat, settings.items(), strict=False):
        default = value_of(SCALES["sweep"], name)
        values = dict(sorted({**values, str(default): base}.items(), key=_order))
        means = [100 * statistics.fmean(r[ERROR] for r in v) for v in values.values()]
        places = range(len(values))
        axes.axhspan(100 * (usual - chance), 100 * (usual + chance), color="0.9")
        axes.plot(places, means, color="#4878a8", marker="_", ms=14)
        for place, (value, found) in enumerate(values.items()):
            errors = [100 * r[ERROR] for r in found]
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
