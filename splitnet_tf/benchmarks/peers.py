"""Forward pass and training step of a network and its tree: ours, stock Keras, PyTorch."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from splitnet_tf.analysis import text_table
from splitnet_tf.benchmarks.machine import describe_machine
from splitnet_tf.benchmarks.parts import training_step
from splitnet_tf.benchmarks.torch_peer import torch_is_installed, torch_work
from splitnet_tf.graph import plain_copy
from splitnet_tf.graph.mixed_precision import POLICY
from splitnet_tf.grouping import Grouping, SplitPlan
from splitnet_tf.models.short_forms import parse_splits
from splitnet_tf.parallel import Timing, interleave
from splitnet_tf.recipe.phase import Phase
from splitnet_tf.splitting import split_model
from splitnet_tf.training import compiled_forward

OURS, STOCK, TORCH = "ours", "stock Keras", "PyTorch"
PRECISIONS = ("float32", "bfloat16")
HEADER = ("network", "work", "precision", OURS, STOCK, TORCH, "spread")
ABSENT = "PyTorch is not installed here, so that its column is empty."


@dataclasses.dataclass(frozen=True)
class PeerRow:
    """Times of the same work by each peer.

    Attributes:
      network: ``"whole"`` or ``"tree"``.
      work: ``"forward"`` or ``"step"``.
      precision: ``"float32"`` or ``"bfloat16"``.
      timings: peer -> times of a batch.
    """

    network: str
    work: str
    precision: str
    timings: Mapping[str, Timing]


@dataclasses.dataclass(frozen=True)
class PeerTimings:
    """Times beside other ways to run the same networks. Prints as a table, ms an image.

    Attributes:
      model: string, name of the model.
      splits: string, groups of the tree.
      batch_size: int, images in a batch.
      repeats: int, timed rounds.
      machine: see ``describe_machine``.
      rows: one for each network, work and precision.
    """

    model: str
    splits: str
    batch_size: int
    repeats: int
    machine: Mapping[str, Any]
    rows: tuple[PeerRow, ...]

    def to_document(self) -> dict[str, Any]:
        """Everything for a JSON document."""
        rows = [
            {
                **{name: getattr(row, name) for name in ("network", "work", "precision")},
                "ms_per_image": {
                    peer: 1000 * t.median / self.batch_size for peer, t in row.timings.items()
                },
                "seconds": {peer: list(t.seconds) for peer, t in row.timings.items()},
            }
            for row in self.rows
        ]
        return {**vars(self), "rows": rows}

    def __str__(self) -> str:
        lines = []
        for row in self.rows:
            found = [row.timings.get(peer) for peer in (OURS, STOCK, TORCH)]
            times = (
                "-" if t is None else f"{1000 * t.median / self.batch_size:.2f}" for t in found
            )
            spread = max(t.quartile_deviation for t in row.timings.values())
            lines.append((row.network, row.work, row.precision, *times, f"{100 * spread:.1f}%"))
        head = (
            f"{self.model}, {self.splits}, batch {self.batch_size}, ms an image, {self.repeats} "
            f"interleaved rounds on {self.machine['processor']}"
        )
        absent = [] if all(TORCH in row.timings for row in self.rows) else [ABSENT]
        return "\n\n".join([head, text_table(HEADER, lines), *absent])


def measure_peers(
    model: keras.Model, splits: str, *, batch_size: int = 100, repeats: int = 3, name: str
) -> PeerTimings:
    """Times a network and its tree, forward and in training, in both precisions.

    The optimizer is SGD with Nesterov's momentum and L2 everywhere; where PyTorch is not installed,
    ours and stock Keras are timed alone.

    Args:
      model: functional, a Wide ResNet.
      splits: text such as ``2-2-2``, see ``parse_splits``; groups are equal.
      batch_size: int, images in a batch. Defaults to 100.
      repeats: int, timed rounds, interleaved. Defaults to 3.
      name: name of the model.

    Raises:
      ArgumentError, PlanError: splits that the model cannot have, or a layer that is not
        translated to PyTorch.
    """
    plan = SplitPlan.from_sections(model, parse_splits(splits, name))
    networks = {"whole": model, "tree": split_model(model, Grouping.even(plan)).model}
    rng = np.random.default_rng(0)
    images = rng.normal(size=(batch_size, *model.input_shape[1:])).astype("float32")
    labels = rng.integers(0, model.output_shape[-1], batch_size).astype("int32")
    rows = []
    for network, net in networks.items():
        for precision in PRECISIONS:
            half = precision == "bfloat16"
            peers = {OURS: our_work, STOCK: stock_work}
            if torch_is_installed():
                peers[TORCH] = torch_work
            work = {peer: make(net, images, labels, half) for peer, make in peers.items()}
            for kind in ("forward", "step"):
                found = interleave({peer: made[kind] for peer, made in work.items()}, repeats)
                rows.append(PeerRow(network, kind, precision, found))
    order = sorted(rows, key=lambda row: (row.network != "whole", row.work))
    return PeerTimings(name, splits, batch_size, repeats, describe_machine(), tuple(order))


def our_work(
    model: keras.Model, images: np.ndarray, labels: np.ndarray, bfloat16: bool
) -> dict[str, Callable[[], Any]]:
    """The forward pass and the training step of the programs; see ``torch_work``."""
    x, y = tf.constant(images), tf.constant(labels)
    forward = compiled_forward(model, bfloat16=bfloat16)
    step = training_step(plain_copy(model), bfloat16=bfloat16)
    return {
        "forward": lambda: forward(x).numpy(),
        "step": lambda: float(step(x, y, 1e-3)["cross_entropy"]),
    }


def stock_work(
    model: keras.Model, images: np.ndarray, labels: np.ndarray, bfloat16: bool
) -> dict[str, Callable[[], Any]]:
    """Keras' own ``predict_on_batch`` and ``train_on_batch``; see ``torch_work``."""
    copy = plain_copy(model)
    for layer in copy.layers if bfloat16 else ():
        layer.dtype_policy = POLICY
    copy.compile(
        keras.optimizers.SGD(1e-3, Phase.momentum, nesterov=Phase.nesterov, weight_decay=Phase.l2),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        jit_compile=False,
    )
    x, y = tf.constant(images), tf.constant(labels)
    return {
        "forward": lambda: copy.predict_on_batch(x),
        "step": lambda: float(copy.train_on_batch(x, y)),
    }
