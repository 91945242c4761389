"""Figures of a report, drawn from arrays. Lines differ in dashes as well as in colour."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from matplotlib import colormaps
from matplotlib.colors import PowerNorm
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from splitnet_tf.report.curves import Curve

WIDTH = 10.0  # inches
CMAP = "cividis"
MOST_GROUPS = 8  # drawn one by one; more of them as their range
# Readable on white and on black, apart for all kinds of colour vision.
COLOURS = ("#2a7fc9", "#d9730d", "#9a60c8", "#159a9c", "#7f8790")
DASHES = ("-", (0, (5, 1.5)), (0, (1.2, 1.2)), (0, (5, 1.5, 1, 1.5)))
HATCHES = ("", "////", "....", "\\\\\\\\", "xx", "--", "++", "oo")


def short(name: str, most: int = 26) -> str:
    """Shortens a name so that it fits into a figure."""
    name = "".join(c if c.isprintable() else "?" for c in name)
    return name if len(name) <= most else f"{name[: most // 2]}…{name[1 - most // 2 :]}"


def _lines(axis, curves: Sequence[Curve], legend: bool = True) -> None:
    for i, c in enumerate(curves):
        axis.plot(
            c.steps,
            c.values,
            color=COLOURS[i % len(COLOURS)],
            linestyle=DASHES[i % len(DASHES)],
            linewidth=1.4,
            marker="o" if len(c.steps) < 3 else None,
            markersize=3,
            label=short(c.name),
        )
    if legend and len(curves) > 1:
        axis.legend(handlelength=3.2)


def _finish(axis, title: str, log: bool = False) -> None:
    axis.set_title(title, loc="left")
    axis.grid(color="#7f8790", alpha=0.25, linewidth=0.5)
    if log:
        axis.set_yscale("log")
        axis.yaxis.set_major_formatter(FuncFormatter(lambda v, _: f"{v:g}"))
        axis.yaxis.set_minor_formatter(FuncFormatter(lambda v, _: ""))
    axis.xaxis.set_major_locator(MaxNLocator(5, integer=True))
    axis.xaxis.set_major_formatter(FuncFormatter(lambda v, _: f"{v:,.0f}"))


def draw_assignment(
    decided: Sequence[Curve], losses: Sequence[Curve], energy: Curve | None
) -> Figure:
    """Draws how decided the assignments are, the three losses and the energy off the blocks."""
    figure = Figure(figsize=(WIDTH, 3.4), layout="constrained")
    left, middle, right = figure.subplots(1, 3)
    _lines(left, decided, legend=False)
    _finish(left, "mean largest p of each space")
    if len(decided) > 1:
        figure.legend(
            *left.get_legend_handles_labels(), loc="outside lower left", ncols=4, handlelength=3.2
        )
    _lines(middle, losses)
    _finish(middle, "the three losses, unweighted")
    if energy:
        _lines(right, [energy])
    _finish(right, "energy off the blocks", bool(energy and (energy.values > 0).all()))
    for axis in (left, middle, right):
        axis.set_xlabel("step")
    return figure


def draw_group_sizes(spaces: dict[str, Sequence[Curve]]) -> Figure:
    """Draws the sizes of the groups of each space over steps, a panel each."""
    columns = min(4, len(spaces))
    rows = math.ceil(len(spaces) / columns)
    figure = Figure(figsize=(WIDTH, 1.9 * rows + 0.3), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False)
    for axis, (name, curves) in zip(axes.flat, spaces.items(), strict=False):
        if len(curves) > MOST_GROUPS and len({len(c.steps) for c in curves}) == 1:
            sizes = np.array([c.values for c in curves])
            steps = curves[0].steps
            axis.fill_between(
                steps, sizes.min(axis=0), sizes.max(axis=0), color=COLOURS[0], alpha=0.3
            )
            axis.plot(steps, np.median(sizes, axis=0), color=COLOURS[0])
            title = f"{short(name, 22)}: {len(curves)} groups"
        else:
            _lines(axis, curves[:MOST_GROUPS], legend=False)
            title = short(name)
        axis.set_ylim(0, 1.1 * max(max(c.values.max() for c in curves), 1))
        _finish(axis, title)
        axis.xaxis.set_major_locator(MaxNLocator(3, integer=True))
    for axis in axes.flat[len(spaces) :]:
        axis.axis("off")
    return figure


def draw_accuracy(panels: Sequence[tuple[str, Sequence[Curve]]]) -> Figure:
    """Draws accuracy over steps, a panel for each phase."""
    figure = Figure(figsize=(WIDTH, 2.7), layout="constrained")
    axes = figure.subplots(1, len(panels), squeeze=False, sharey=True)
    for axis, (title, curves) in zip(axes.flat, panels, strict=True):
        _lines(axis, curves)
        _finish(axis, title)
        axis.set_xlabel("step")
        axis.yaxis.set_major_formatter(FuncFormatter(lambda v, _: f"{100 * v:g}%"))
    return figure


def draw_zeros(panels: dict[str, Sequence[Curve]]) -> Figure:
    """Draws the share of groups at zero over steps: a panel a structure, a line a layer."""
    figure = Figure(figsize=(WIDTH, 3.0), layout="constrained")
    axes = figure.subplots(1, len(panels), squeeze=False, sharey=True)
    for axis, (title, curves) in zip(axes.flat, panels.items(), strict=True):
        _lines(axis, curves)
        _finish(axis, short(title))
        axis.set_xlabel("step")
        axis.set_ylim(0, 1.02)
        axis.yaxis.set_major_formatter(FuncFormatter(lambda v, _: f"{100 * v:g}%"))
    return figure


def draw_agreement(
    learned: np.ndarray, random: np.ndarray, names: Sequence[str], groups: Sequence[str]
) -> Figure:
    """Draws the classes of each superclass in each group (the paper's Figure 5).

    Args:
      learned, random: counts (superclasses, groups) of the learned and of random groups.
      names: names of the superclasses.
      groups: names of the groups.
    """
    height = 0.21 * len(names) + 1.3
    figure = Figure(figsize=(min(WIDTH, 4.6 + 0.7 * len(groups)), height), layout="constrained")
    axes = figure.subplots(1, 2, sharey=True)
    top = max(learned.max(), random.max(), 1)
    for axis, table, title in zip(
        axes, (learned, random), ("learned groups", "random, same sizes"), strict=True
    ):
        image = axis.imshow(table, cmap=CMAP, vmin=0, vmax=top, aspect="auto")
        axis.set_title(title)
        axis.set_xticks(range(len(groups)), groups if len(groups) <= 16 else [""] * len(groups))
        axis.tick_params(length=0)
        if len(groups) <= 16:
            for (i, j), count in np.ndenumerate(table):
                colour = "black" if count > 0.55 * top else "white"
                axis.text(j, i, str(count), ha="center", va="center", color=colour, fontsize=7.5)
        axis.set_xlabel("group")
    axes[0].set_yticks(range(len(names)), [short(n, 32) for n in names])
    if len(groups) > 16:
        figure.colorbar(image, ax=axes, label="classes", location="right")
    return figure


def draw_confusion(pictures: Sequence[tuple[str, np.ndarray]], borders: Sequence[float]) -> Figure:
    """Draws confusions sorted by group.

    Args:
      pictures: (title, shares of the answers (cells, cells), rows the true class) of each panel.
      borders: places between groups, as shares of the side.
    """
    figure = Figure(figsize=(min(WIDTH, 4.9 * len(pictures) + 0.6), 4.9), layout="constrained")
    axes = figure.subplots(1, len(pictures), squeeze=False)[0]
    for axis, (title, shares) in zip(axes, pictures, strict=True):
        image = axis.imshow(
            shares, cmap=CMAP, norm=PowerNorm(0.4, 0, 1), extent=(0, 1, 1, 0), rasterized=True
        )
        for border in borders:
            axis.axhline(border, color="white", linewidth=0.8)
            axis.axvline(border, color="white", linewidth=0.8)
        axis.set_xticks([])
        axis.set_yticks([])
        axis.set_title(title)
        axis.set_xlabel("answer")
    axes[0].set_ylabel("true class")
    bar = figure.colorbar(image, ax=axes, shrink=0.8, ticks=[0, 0.01, 0.1, 0.3, 1])
    bar.ax.set_yticklabels(["0", "1%", "10%", "30%", "100%"])
    bar.set_label("of a class's images")
    return figure


def draw_gamma3(gammas: Sequence[float], sizes: Sequence[Sequence[int]]) -> Figure:
    """Draws the sizes of the class groups for each gamma_3 (the paper's Figure 4).

    Args:
      gammas: values of gamma_3, ascending.
      sizes: sizes of the groups for each value.
    """
    figure = Figure(figsize=(min(WIDTH, 2.4 + 0.9 * len(gammas)), 3.2), layout="constrained")
    axis = figure.subplots()
    shades = colormaps["viridis"]
    for x, groups in enumerate(sizes):
        bottom, total = 0.0, max(sum(groups), 1)
        for g, size in enumerate(sorted(groups, reverse=True)):
            axis.bar(
                x,
                size / total,
                0.7,
                bottom,
                color=shades(0.35 + 0.6 * (g % len(HATCHES)) / len(HATCHES)),
                edgecolor="#30343a",
                linewidth=0.6,
                hatch=HATCHES[g % len(HATCHES)],
            )
            if size / total > 0.06:
                axis.text(
                    x,
                    bottom + size / total / 2,
                    str(size),
                    ha="center",
                    va="center",
                    color="black",
                    bbox={"facecolor": "white", "edgecolor": "none", "pad": 1.5},
                )
            bottom += size / total
    axis.set_xticks(range(len(gammas)), [f"{g:g}" for g in gammas])
    axis.set_xlabel("gamma_3")
    axis.yaxis.set_major_formatter(FuncFormatter(lambda v, _: f"{100 * v:g}%"))
    axis.set_ylabel("of the classes")
    return figure
