"""Gates: split kernels that are multiplied by a block mask while their groups are learned.

Without gates the cross entropy does not depend on the assignments. With them the forward pass uses
W times 1 - c (1 - M), where M is p^T q, the share of each pair of channels that is in one group,
and c goes from 0 (open: the network as it was) to 1 (closed: the blocks alone).
"""

from __future__ import annotations

from keras import ops

from splitnet_tf.grouping.split_losses import SplitLosses


def gate_of(p, q, hard_p, hard_q, closed):
    """Computes the gate of a kernel, (in, out).

    Its value goes from 1 everywhere to the mask of the hard groups, as ``closed`` goes from 0 to 1.
    Its gradient is that of the soft groups all the while.

    Args:
      p, q: (G, in) and (G, out), memberships of the input and output channels.
      hard_p, hard_q: the same, 1 for the group of the largest p and 0 for the others.
      closed: scalar from 0 to 1.
    """
    soft, hard = (ops.matmul(ops.transpose(a), b) for a, b in ((p, q), (hard_p, hard_q)))
    mask = soft + closed * ops.stop_gradient(hard - soft)
    return 1.0 - closed * (1.0 - mask)


def fold_gates(losses: SplitLosses) -> None:
    """Multiplies the kernels of a grouped model by their gates and opens these, in place.

    The model computes the same as before, and is then like a model without gates. Models without
    gates are left as they are.

    Args:
      losses: ``SplitLosses`` of the grouped model.
    """
    if not losses.gates:
        return
    for layer in losses.grouped_layers():
        layer.kernel.assign(layer.gated(ops.convert_to_tensor(layer.kernel)))
    losses.closed.assign(0.0)
