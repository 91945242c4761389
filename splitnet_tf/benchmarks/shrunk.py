"""Times of a shrunk network beside the whole one: each layer's matrix product, and all of it.

The paper's speed-ups are those of the products that convolutions and dense layers are lowered to.
Beside them stand products with unstructured zeros, as SciPy's sparse matrices compute them.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from scipy import sparse

from splitnet_tf.analysis import text_table
from splitnet_tf.benchmarks.machine import describe_machine
from splitnet_tf.errors import PlanError
from splitnet_tf.parallel import Timing, interleave, ratio
from splitnet_tf.sparsity import predict_changes

BATCHES = (1, 64)
SHORTEST = 2e-3  # seconds of a round; what is faster is repeated within it
HEADER = (
    *("batch", "layer", "product before", "after", "multiply-adds", "before", "after", "speed"),
    *("by them", "spread", "l1: weights left", "l1: time", "l1: speed"),
)


@dataclasses.dataclass(frozen=True)
class LayerTiming:
    """Times of one layer's product, or of the whole network, for one batch.

    Attributes:
      layer: str, name of the layer; ``network`` for a forward pass through all of them.
      batch: int, images.
      before, after: (filters, columns, places): sizes of the product; None for the network.
      share: float, multiply-adds left.
      timings: ``whole`` and ``shrunk``, and ``l1`` where there is an unstructured network.
      left: float, share of the weights that are not zero in the unstructured network; or None.
    """

    layer: str
    batch: int
    before: tuple[int, ...] | None
    after: tuple[int, ...] | None
    share: float
    timings: Mapping[str, Timing]
    left: float | None = None

    def speed(self, name: str) -> float | None:
        """Times as fast as the whole one, the median over the rounds; None without a time."""
        if name not in self.timings:
            return None
        return 1 / ratio(self.timings[name], self.timings["whole"])

    def to_document(self) -> dict[str, Any]:
        """Sizes, median seconds and speeds for a JSON document."""
        seconds = {name: t.median for name, t in self.timings.items()}
        speeds = {name: self.speed(name) for name in self.timings if name != "whole"}
        return {
            **{n: getattr(self, n) for n in ("layer", "batch", "before", "after", "share", "left")},
            "seconds": seconds,
            "speed": speeds,
        }

    def cells(self) -> tuple[str, ...]:
        """The numbers under ``HEADER``."""
        sizes = ("x".join(map(str, s)) if s else "" for s in (self.before, self.after))
        whole, shrunk = (self.timings[name] for name in ("whole", "shrunk"))
        l1 = self.timings.get("l1")
        spread = max(t.quartile_deviation for t in self.timings.values())
        return (
            *(str(self.batch), self.layer, *sizes, f"{100 * self.share:.1f}%"),
            *(f"{1000 * t.median:.3f} ms" for t in (whole, shrunk)),
            *(f"{self.speed('shrunk'):.2f}x", f"{1 / self.share:.2f}x", f"{100 * spread:.0f}%"),
            f"{100 * self.left:.1f}%" if self.left is not None else "-",
            f"{1000 * l1.median:.3f} ms" if l1 else "-",
            f"{self.speed('l1'):.2f}x" if l1 else "-",
        )


@dataclasses.dataclass(frozen=True)
class ShrunkTimings:
    """Times of a shrunk network. Prints as a table.

    Attributes:
      model: str, name of the model.
      repeats: int, timed rounds.
      machine: see ``describe_machine``.
      layers: times of each layer and of the network, for each batch.
    """

    model: str
    repeats: int
    machine: Mapping[str, Any]
    layers: tuple[LayerTiming, ...]

    def to_document(self) -> dict[str, Any]:
        """Everything for a JSON document."""
        return {**vars(self), "layers": [layer.to_document() for layer in self.layers]}

    def __str__(self) -> str:
        machine = self.machine
        head = (
            f"{self.model}, {self.repeats} interleaved rounds on {machine['processor']}, "
            f"{machine['threads']} threads, TensorFlow {machine['tensorflow']}"
        )
        return f"{head}\n\n{text_table(HEADER, [layer.cells() for layer in self.layers])}"


def measure_shrunk(
    whole: keras.Model,
    shrunk: keras.Model,
    unstructured: keras.Model | None = None,
    batches: Sequence[int] = BATCHES,
    repeats: int = 5,
) -> ShrunkTimings:
    """Times the matrix product of each layer, and a forward pass through the network.

    A product is (filters x columns) times (columns x places), places being the positions of a
    batch at which the kernel is applied.

    Args:
      whole: functional ``keras.Model``.
      shrunk: what was made of it; layers keep their names.
      unstructured: the same network as ``whole`` with single weights at zero, whose products are
        timed as sparse matrices. Defaults to none.
      batches: ints, images in a batch. Defaults to 1 and 64.
      repeats: int, timed rounds, interleaved. Defaults to 5.

    Raises:
      PlanError: the smaller network has a layer that the whole one lacks, or inputs of no fixed
        size.
    """
    before = {k.layer: k for k in predict_changes(whole).kernels}
    kept = {k.layer: k for k in predict_changes(shrunk).kernels}
    strange = [name for name in kept if name not in before]
    if strange:
        raise PlanError(
            f"`shrunk`: model '{shrunk.name}' has a layer '{strange[0]}' that model '{whole.name}' "
            "lacks; give what was shrunk from it."
        )
    if None in [k.places for k in before.values()]:
        raise PlanError(f"Model '{whole.name}' has inputs of no fixed size to time.")
    found = []
    for batch in batches:
        for name, k in before.items():
            if name in kept and k.kernel == "kernel":
                found.append(
                    _layer(name, batch, whole, shrunk, unstructured, k, kept[name], repeats)
                )
        total = [sum(k.multiply_adds(False) for k in c.values()) for c in (before, kept)]
        work = {"whole": _forward(whole, batch), "shrunk": _forward(shrunk, batch)}
        timings = _timed(work, repeats)
        found.append(LayerTiming("network", batch, None, None, total[1] / total[0], timings))
    return ShrunkTimings(whole.name, repeats, describe_machine(), tuple(found))


def _layer(name, batch, whole, shrunk, unstructured, before, after, repeats) -> LayerTiming:
    matrices = {"whole": _lowered(whole, name), "shrunk": _lowered(shrunk, name)}
    if unstructured is not None:
        matrices["l1"] = sparse.csr_matrix(_lowered(unstructured, name))
    rng, work = np.random.default_rng(0), {}
    for kind, matrix in matrices.items():
        places = batch * (after if kind == "shrunk" else before).places
        columns = rng.normal(size=(matrix.shape[1], places)).astype("float32")
        work[kind] = lambda matrix=matrix, columns=columns: matrix @ columns
    l1 = matrices.get("l1")
    return LayerTiming(
        name,
        batch,
        (*matrices["whole"].shape, batch * before.places),
        (*matrices["shrunk"].shape, batch * after.places),
        after.multiply_adds(False) / before.multiply_adds(False),
        _timed(work, repeats),
        None if l1 is None else l1.nnz / np.prod(l1.shape),
    )


def _lowered(model: keras.Model, layer: str) -> np.ndarray:
    """The kernel of a layer as a matrix (filters, columns)."""
    kernel = keras.ops.convert_to_numpy(model.get_layer(layer).kernel)
    return np.ascontiguousarray(kernel.reshape(-1, kernel.shape[-1]).T)


def _forward(model: keras.Model, batch: int) -> Callable[[], Any]:
    shape = (batch, *model.inputs[0].shape[1:])
    images = tf.constant(np.random.default_rng(1).normal(size=shape), tf.float32)
    forward = tf.function(lambda x: model(x, training=False))
    return lambda: forward(images).numpy()


def _timed(work: Mapping[str, Callable], repeats: int) -> dict[str, Timing]:
    """Times of one call each, of rounds long enough for the clock."""
    once = interleave(dict(work), 3)
    counts = {name: max(1, round(SHORTEST / t.median)) for name, t in once.items()}

    def several(name: str) -> Callable[[], None]:
        def run():
            for _ in range(counts[name]):
                work[name]()

        return run

    found = interleave({name: several(name) for name in work}, repeats, warmup=1)
    return {name: Timing(tuple(s / counts[name] for s in t.seconds)) for name, t in found.items()}
