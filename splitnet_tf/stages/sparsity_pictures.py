"""Pictures of a network while it becomes sparse, for TensorBoard."""

from __future__ import annotations

import math
from collections.abc import Sequence

import keras
import numpy as np
import tensorflow as tf

from splitnet_tf.graph.trace import trace
from splitnet_tf.sparsity import Term, group_norms, weights_by_path
from splitnet_tf.sparsity.weight_axes import kernels_of, layers_of
from splitnet_tf.stages.grouping_pictures import picture

_SIDE = 256  # pixels of the shorter side, about


def filters_picture(kernel: np.ndarray) -> np.ndarray:
    """Filters side by side: middle grey for zero, white lines between them.

    Args:
      kernel: (height, width, in, filters); three input channels are drawn in colour, the mean of
        any other number in grey.

    Returns:
      uint8 (1, height, width, 3).
    """
    if kernel.shape[2] != 3:
        kernel = np.repeat(kernel.mean(axis=2, keepdims=True), 3, axis=2)
    height, width, _, count = kernel.shape
    values = 0.5 + 0.5 * kernel / max(float(np.abs(kernel).max()), 1e-12)
    columns = math.ceil(math.sqrt(count))
    rows = math.ceil(count / columns)
    canvas = np.ones((rows * (height + 1) - 1, columns * (width + 1) - 1, 3))
    for i in range(count):
        top, left = (i // columns) * (height + 1), (i % columns) * (width + 1)
        canvas[top : top + height, left : left + width] = values[..., i]
    scale = max(1, _SIDE // min(canvas.shape[:2]))
    canvas = canvas.repeat(scale, axis=0).repeat(scale, axis=1)
    return np.round(255 * canvas).astype(np.uint8)[None]


class SparsityPictures:
    """Writes the norms of all groups, and what the first layer looks at.

    The first layer's filters are drawn; of a dense layer on images, the norm of each pixel's
    weights.

    Args:
      model: functional ``keras.Model``.
      terms: of a plan in this model.
    """

    def __init__(self, model: keras.Model, terms: Sequence[Term]):
        self._terms = terms
        self._weights = weights_by_path(model.trainable_variables)
        traced = trace(model)
        layers = ((name, kernels_of(traced, call)) for name, call in layers_of(traced).items())
        self._name, kernels = next((name, found) for name, found in layers if found)
        self._kernel, self._image = kernels[0], tuple(model.inputs[0].shape[1:])

    def write(self, step: int, writer: tf.summary.SummaryWriter) -> None:
        """Writes a histogram for each layer or space of a structure, and a picture."""
        with writer.as_default(step=step):
            for term in self._terms:
                norms = keras.ops.convert_to_numpy(group_norms(term.groups, self._weights))
                tf.summary.histogram(f"norms/{term.groups.structure}/{term.groups.name}", norms)
            drawn = self._drawn(keras.ops.convert_to_numpy(self._kernel))
            if drawn is not None:
                tf.summary.image(f"first_layer/{self._name}", drawn)

    def _drawn(self, kernel: np.ndarray) -> np.ndarray | None:
        if kernel.ndim == 4:
            return filters_picture(kernel)
        if kernel.ndim == 2 and len(self._image) == 3 and len(kernel) == math.prod(self._image):
            norms = np.linalg.norm(kernel, axis=1).reshape(self._image)
            return picture(np.linalg.norm(norms, axis=-1))
        return None
