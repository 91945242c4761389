"""Models divided between devices: bytes that cross, beside the accuracy."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import keras

from splitnet_tf.analysis.tables import text_table
from splitnet_tf.data.feeds import feed_of
from splitnet_tf.errors import ArgumentError
from splitnet_tf.graph import place_channels, trace
from splitnet_tf.graph.messages import Messages
from splitnet_tf.parallel import DividedModel, divide_model
from splitnet_tf.recipe.losses import loss_for
from splitnet_tf.sparsity import SparsityPlan, bytes_crossing, weights_by_path, zero_counts
from splitnet_tf.stages.accuracy import accuracy_of

HEADER = ("", "blocks left", "channels sent", "bytes crossing", "of all blocks", "top-1")


@dataclasses.dataclass(frozen=True)
class Crossing:
    """One divided model.

    Attributes:
      blocks_left, blocks: int, blocks between two devices that are not zero; all of them.
      channels_sent: int, channels that devices send each other before the outputs; a channel that
        goes to two devices counts twice.
      bytes_before, bytes_after: int, bytes between devices for one example, outputs included: with
        all blocks, and with those that are left.
      accuracy: float, share of the examples whose class is the first, by the divided model.
      messages: each message as a document: tensor, source, target, channels, bytes.
      notes: sentences on layers that could not be divided.
      divided: ``DividedModel``.
    """

    blocks_left: int
    blocks: int
    channels_sent: int
    bytes_before: int
    bytes_after: int
    accuracy: float
    messages: tuple[Mapping[str, Any], ...]
    notes: tuple[str, ...]
    divided: DividedModel = dataclasses.field(repr=False)

    def to_document(self) -> dict[str, Any]:
        """Everything but the model for a JSON document."""
        return {k: v for k, v in vars(self).items() if k != "divided"}

    def cells(self) -> tuple[str, ...]:
        """The numbers under ``HEADER``, without the name."""
        return (
            f"{self.blocks_left} of {self.blocks}",
            f"{self.channels_sent:,}",
            f"{self.bytes_after:,}",
            f"{self.bytes_after / self.bytes_before:.1%}",
            f"{self.accuracy:.2%}",
        )


@dataclasses.dataclass(frozen=True)
class CrossingTable:
    """Bytes that cross between devices against accuracy, model by model. Prints as a table.

    Attributes:
      num_devices: int.
      models: name -> ``Crossing``.
    """

    num_devices: int
    models: Mapping[str, Crossing]

    def to_document(self) -> dict[str, Any]:
        """Everything for a JSON document."""
        models = {name: found.to_document() for name, found in self.models.items()}
        return {"num_devices": self.num_devices, "models": models}

    def __str__(self) -> str:
        rows = [(name, *found.cells()) for name, found in self.models.items()]
        notes = dict.fromkeys(n for found in self.models.values() for n in found.notes)
        parts = [
            f"{self.num_devices} devices; channels and bytes for one example, outputs included",
            text_table(HEADER, rows),
            *notes,
        ]
        return "\n\n".join(parts)


def compare_crossing(
    models: Mapping[str, keras.Model],
    data: Any,
    num_devices: int = 2,
    *,
    placement: Mapping[str, Sequence[Sequence[int]]] | None = None,
    loss: keras.losses.Loss | None = None,
    batch_size: int = 100,
) -> CrossingTable:
    """Divides models between devices and measures what crosses and how accurate they are.

    Args:
      models: name -> functional classifier, such as one after ``sparsify`` with ``blocks``.
      data: arrays (x, y) or batches, see ``evaluate_model``.
      num_devices, placement: see ``divide_model``.
      loss: see ``evaluate_model``. Defaults to one class an example.
      batch_size: int, examples in a batch of arrays. Defaults to 100.

    Raises:
      ArgumentError: a placement that does not fit, or sizes of tensors that depend on the input's.
      PlanError: a model that has no graph.

    >>> net = sn.models.mlp((6,), num_classes=4, input_shape=(3,))
    >>> found = sn.compare_crossing({"plain": net}, (np.ones((5, 3)), np.arange(5) % 4))
    >>> found.models["plain"].bytes_after
    32
    """
    feed = feed_of(data, batch_size)
    found = {}
    for name, model in models.items():
        found[name] = _crossing(name, model, feed, num_devices, placement, loss)
    return CrossingTable(num_devices, found)


def _crossing(name, model, feed, num_devices, placement, loss) -> Crossing:
    traced = trace(model)
    devices = place_channels(traced, num_devices, placement)
    sizes = bytes_crossing(traced, devices)
    if sizes is None:
        raise ArgumentError(
            f"Bytes of model '{name}' cannot be counted, as they depend on the size of the inputs; "
            "give it a keras.Input of fixed shape."
        )
    plan = SparsityPlan(blocks=1.0, num_devices=num_devices, placement=placement)
    counts = zero_counts(plan.terms(traced), weights_by_path(model.variables))
    between = Messages(traced, devices).messages_between
    divided = divide_model(model, num_devices, placement)
    blocks = sum(c.count for c in counts)
    return Crossing(
        blocks - sum(c.zero for c in counts),
        blocks,
        sum(len(m.channels) for m in between),
        *sizes,
        accuracy_of(divided.model, feed, loss or loss_for(model)).top1,
        tuple(
            {
                "tensor": traced.graph.names[m.tensor],
                "source": m.source,
                "target": m.target,
                "channels": m.channels.tolist(),
                "bytes": m.bytes,
            }
            for m in between
        ),
        divided.notes,
        divided,
    )
