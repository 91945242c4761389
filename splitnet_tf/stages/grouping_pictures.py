"""Pictures and texts of a grouping while it is learned, for TensorBoard."""

from __future__ import annotations

from collections.abc import Sequence

import keras
import numpy as np
import tensorflow as tf
from matplotlib import colormaps

from splitnet_tf.analysis.class_tree import class_tree
from splitnet_tf.graph.kernels import kernel_energy
from splitnet_tf.grouping import SplitLosses
from splitnet_tf.grouping.plan import SplitPlan
from splitnet_tf.grouping.start import class_assignment

# Pixels that the sides of a picture have at least; smaller arrays are enlarged.
_SIDE = 256


def picture(values: np.ndarray) -> np.ndarray:
    """An array as an image: dark for 0, bright from its 99% quantile on.

    Args:
      values: (rows, columns), 0 or more.

    Returns:
      uint8 (1, height, width, 3).
    """
    top = max(float(np.quantile(values, 0.99)), 1e-12)
    colours = colormaps["viridis"](np.clip(values / top, 0, 1))[..., :3]
    for axis in (0, 1):
        colours = np.repeat(colours, max(1, _SIDE // colours.shape[axis]), axis=axis)
    return np.round(255 * colours).astype(np.uint8)[None]


def sorted_kernel(kernel: np.ndarray, p: np.ndarray, q: np.ndarray) -> np.ndarray:
    """The magnitude of a kernel's weights, inputs and outputs sorted by group.

    Args:
      kernel: (..., in, out).
      p: (G, in) memberships of the inputs.
      q: (G, out) memberships of the outputs.

    Returns:
      (in, out): the root of the summed squares over the window; block-diagonal after a split.
    """
    size = np.sqrt(kernel_energy(kernel))
    rows, columns = (np.argsort(m.argmax(axis=0), kind="stable") for m in (p, q))
    return size[rows][:, columns]


class GroupingPictures:
    """Writes p of every space, every split kernel and the class tree.

    Args:
      losses: the grouped model's ``SplitLosses``.
      plan: the plan that it was grouped with.
      class_names: one a class.
    """

    def __init__(self, losses: SplitLosses, plan: SplitPlan, class_names: Sequence[str]):
        self._losses = losses
        self._plan = plan
        self._class_names = class_names

    def write(self, step: int, writer: tf.summary.SummaryWriter) -> None:
        """Writes a histogram and an image of each p, an image of each kernel, and the tree."""
        to_numpy = keras.ops.convert_to_numpy
        with writer.as_default(step=step):
            for assignment in self._losses.assignments():
                name, p = assignment.space, to_numpy(assignment.p())
                tf.summary.histogram(f"p/{name}", p.max(axis=0))
                by_group = p[:, np.argsort(p.argmax(axis=0), kind="stable")]
                tf.summary.image(f"p_by_group/{name}", picture(by_group))
            for layer in self._losses.grouped_layers():
                arrays = (to_numpy(x) for x in (layer.effective(), layer.p, layer.q))
                image = picture(sorted_kernel(*arrays))
                tf.summary.image(f"kernels_by_group/{layer.name}", image)
            labels = to_numpy(class_assignment(self._losses, self._plan).p()).argmax(axis=0)
            tree = class_tree(labels, self._plan.groups)
            tf.summary.text("classes/tree", tree.as_markdown(self._class_names))
