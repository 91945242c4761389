"""Figures: split kernels before and after sorting their channels by group."""

from __future__ import annotations

from pathlib import Path

import keras
import numpy as np
from matplotlib.figure import Figure

from splitnet_tf.errors import PlanError
from splitnet_tf.graph.kernels import kernel_energy
from splitnet_tf.grouping.blocks import kernel_labels, split_layers, split_matrix
from splitnet_tf.grouping.grouping import Grouping
from splitnet_tf.grouping.plan import SplitPlan


def block_figure(model: keras.Model, grouping: Grouping, path: str | Path, most: int = 4) -> None:
    """Writes the figure of ``draw_blocks`` to a file.

    Args:
      model, grouping, most: see ``draw_blocks``.
      path: path of the image; the suffix chooses the format.
    """
    figure = draw_blocks(model, grouping, most)
    figure.suptitle("Weight magnitude of split kernels before the cut")
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)


def draw_blocks(
    model: keras.Model, grouping: Grouping, most: int = 4, cmap: str = "magma"
) -> Figure:
    """Draws the energy of split kernels, as trained and sorted by group (the paper's Figure 3).

    Args:
      model: functional ``keras.Model`` before the split, grouped or plain.
      grouping: ``Grouping`` of its spaces.
      most: int, kernels drawn, spread from the bottom to the top. Defaults to 4.
      cmap: str, colour map of matplotlib. Defaults to ``"magma"``.

    Raises:
      PlanError, GroupingError: the grouping splits nothing, or was made for another model.
    """
    plan = SplitPlan.from_sections(model, grouping.sections)
    if not plan.kernels:
        raise PlanError(f"The grouping splits no kernel of model '{model.name}': nothing to draw.")
    layers = split_layers(model, grouping, plan)
    chosen = np.unique(np.linspace(0, len(plan.kernels) - 1, most).round().astype(int))
    kernels = [plan.kernels[i] for i in chosen]
    figure = Figure(figsize=(2.6 * len(kernels), 5.4), layout="constrained")
    axes = figure.subplots(2, len(kernels), squeeze=False)
    for column, kernel in enumerate(kernels):
        size = np.sqrt(kernel_energy(split_matrix(layers[kernel.name])))
        rows, columns = kernel_labels(plan, grouping, kernel)
        by_group = size[np.argsort(rows, kind="stable")][:, np.argsort(columns, kind="stable")]
        top = np.quantile(size, 0.99)
        for row, picture in enumerate((size, by_group)):
            axis = axes[row, column]
            axis.imshow(picture, cmap=cmap, vmin=0, vmax=top, aspect="auto")
            axis.set_xticks([])
            axis.set_yticks([])
        for g in range(1, kernel.num_groups):
            axes[1, column].axhline(np.sum(rows < g) - 0.5, color="white", linewidth=0.8)
            axes[1, column].axvline(np.sum(columns < g) - 0.5, color="white", linewidth=0.8)
        axes[0, column].set_title(kernel.name, fontsize=9)
    axes[0, 0].set_ylabel("as trained: input channel")
    axes[1, 0].set_ylabel("sorted by group: input channel")
    for axis in axes[1]:
        axis.set_xlabel("output channel", fontsize=8)
    return figure
