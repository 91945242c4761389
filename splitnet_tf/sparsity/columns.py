"""Columns of the lowered matrix: what of a kernel's window and inputs is still used."""

from __future__ import annotations

import numpy as np
from keras import ops

from splitnet_tf.graph.trace import Trace
from splitnet_tf.sparsity.removal import Remains
from splitnet_tf.sparsity.structures import structure_groups
from splitnet_tf.sparsity.weight_axes import kernels_of, layers_of


def lowered_columns(kernel: np.ndarray, channels: int) -> np.ndarray:
    """Finds the columns with a weight that is not zero, bool (window x channels,).

    Args:
      kernel: (window..., in, out); with several blocks ``in`` is that of a block.
      channels: input channels of the layer.
    """
    used = kernel != 0
    blocks = channels // kernel.shape[-2]
    parts = np.split(used, blocks, axis=-1)
    return np.concatenate([p.any(axis=-1) for p in parts], axis=-1).ravel()


def live_columns(traced: Trace, remains: Remains) -> dict[str, tuple[np.ndarray, bool]]:
    """Finds the columns of each layer that stays which filters that stay use.

    Returns:
      Name of the layer to (bool (columns,); whether a column is zero though its channel stays).
    """
    layers, found = layers_of(traced), {}
    for groups in structure_groups(traced, "shapes", frozen=True):
        call = layers[groups.name]
        if call.name not in remains.calls:
            continue
        kernel = ops.convert_to_numpy(kernels_of(traced, call)[0])
        read, made = (remains.alive(traced, t) for t in (call.inputs[0], call.outputs[0]))
        if kernel.shape[-2:] == (len(read), len(made)):  # elsewhere every filter stays
            kernel = kernel[..., made]
        used = lowered_columns(kernel, len(read))
        stays = np.tile(read, int(np.prod(kernel.shape[:-2], dtype=int)))
        found[groups.name] = (used & stays, bool((stays & ~used).any()))
    return found
