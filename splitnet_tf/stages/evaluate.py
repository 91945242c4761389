"""Accuracy, cost and speed of a classifier, alone or a tree beside the unsplit network."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from splitnet_tf.analysis import cost, text_table
from splitnet_tf.graph import plain_copy
from splitnet_tf.grouping.grouped_layers import GroupedKernel
from splitnet_tf.parallel import one_device_forward, place, stream
from splitnet_tf.splitting import SplitTree
from splitnet_tf.training import compiled_forward, evaluate

SPEED_BATCHES = 10  # at least so many batches are timed, if arrays are long enough
HEADER = ("", "top-1", "top-5", "cross entropy", "ms/image", "params (M)", "GFLOPs")


@dataclasses.dataclass(frozen=True)
class ModelEvaluation:
    """Accuracy, cost and speed of one model. Prints as a table.

    Attributes:
      model: name of the model, or the file that it was loaded from.
      images: int, examples seen.
      top1, top5: shares of the examples whose class is the first, or among the first five.
      cross_entropy: mean over the examples, in nats.
      seconds_per_image: median over batches; None when there is a single batch.
      batch_size: int, examples in a batch.
      params, flops: parameters and FLOPs for one image, counted as the paper does.
      confusion: int64 (classes, classes), rows the true class.
      form: form of a tree on one device; empty for other models and for each branch by itself.
      forms: form -> seconds an image; empty unless the fastest form was looked for.
      trunk: mode of the trunk of a tree on several devices; empty for one device.
      placement: the tree's nodes on their devices, as text; empty for one device.
    """

    model: str
    images: int
    top1: float
    top5: float
    cross_entropy: float
    seconds_per_image: float | None
    batch_size: int
    params: int
    flops: int
    confusion: np.ndarray
    form: str = ""
    forms: Mapping[str, float] = dataclasses.field(default_factory=dict)
    trunk: str = ""
    placement: str = ""

    def to_document(self) -> dict[str, Any]:
        """Everything for a JSON document; a form or placement only where there is one."""
        found = {**vars(self), "forms": dict(self.forms), "confusion": self.confusion.tolist()}
        for name, absent in (("form", ("form", "forms")), ("trunk", ("trunk", "placement"))):
            if not found[name]:
                found = {k: v for k, v in found.items() if k not in absent}
        return found

    def cells(self) -> tuple[str, ...]:
        """The numbers under ``HEADER``, without the name."""
        seconds = self.seconds_per_image
        return (
            f"{100 * self.top1:.2f}%",
            f"{100 * self.top5:.2f}%",
            f"{self.cross_entropy:.3f}",
            f"{1000 * seconds:.3f}" if seconds is not None and math.isfinite(seconds) else "-",
            f"{self.params / 1e6:.3f}",
            f"{self.flops / 1e9:.4f}",
        )

    def about_form(self) -> str:
        """The form of a tree on one device, and the times of the forms tried."""
        others = [f"{name} {1000 * s:.3f}" for name, s in self.forms.items()]
        measured = f" (ms/image: {', '.join(others)})" if others else ""
        return f"form on one device: {self.form}{measured}"

    def __str__(self) -> str:
        return str(Comparison({"model": self}))


@dataclasses.dataclass(frozen=True)
class Comparison:
    """Evaluations of several models on the same data. Prints as a table.

    Attributes:
      models: name -> evaluation. The names ``unsplit`` and ``split`` add a line on the savings.
    """

    models: Mapping[str, ModelEvaluation]

    def to_document(self) -> dict[str, Any]:
        """The evaluations by name for a JSON document."""
        return {name: found.to_document() for name, found in self.models.items()}

    def __str__(self) -> str:
        parts = [text_table(HEADER, [(n, *e.cells()) for n, e in self.models.items()])]
        if {"unsplit", "split"} <= set(self.models):
            before, after = self.models["unsplit"], self.models["split"]
            parts.append(
                f"{100 * (1 - after.params / before.params):.1f}% fewer parameters, "
                f"{100 * (1 - after.flops / before.flops):.1f}% fewer FLOPs"
            )
        parts += [e.placement for e in self.models.values() if e.placement]
        parts += [e.about_form() for e in self.models.values() if e.form]
        return "\n\n".join(parts)


def evaluate_model(
    model: keras.Model | SplitTree,
    data: Any,
    *,
    form: str = "none",
    devices: Sequence[str] = (),
    trunk: str = "replicate",
    batch_size: int | None = None,
    name: str | None = None,
) -> ModelEvaluation:
    """Measures accuracy, cost and speed of a classifier.

    Args:
      model: functional; returns logits (B, classes). A grouped model is measured as the stock
        model that it was made of.
      data: arrays (x, y), or batches of them that can be read again, such as a
        ``tf.data.Dataset``. Labels are integers or one-hot.
      form: form of a tree on one device: ``"none"``, ``"grouped"``, ``"jit"``, ``"grouped_jit"``,
        or ``"auto"`` for the fastest. Defaults to ``"none"``, each branch by itself.
      devices: names of devices to run a tree on, each branch on its own. Defaults to none.
      trunk: mode of the trunk on several devices, see ``place``.
      batch_size: int, examples in a batch of arrays. Defaults to 100, fewer where that makes less
        than ten batches.
      name: stands for the model in the result. Defaults to the model's name.

    Raises:
      DataError: no example, inputs that are not finite, or labels that are not classes.
      PlanError, PlacementError: a form or devices that the tree cannot have.
    """
    model = model.model if isinstance(model, SplitTree) else model
    if any(isinstance(layer, GroupedKernel) for layer in model.layers):
        model = plain_copy(model)
    batches = batches_of(data, batch_size)
    images = next(iter(batches))[0]
    batch = len(keras.tree.flatten(images)[0])
    forward, more, over = compiled_forward(model), {}, map
    if form != "none":
        form, forward, timings = one_device_forward(SplitTree(model), form, images)
        more = {"form": form, "forms": {n: t.median / batch for n, t in timings.items()}}
    if devices:
        forward, over = place(SplitTree(model), devices, trunk), stream
        more = {"trunk": trunk, "placement": str(forward.placement)}
    found, counted = evaluate(forward, batches, over), cost(model)
    return ModelEvaluation(
        model=name or model.name,
        images=found.images,
        top1=found.top1,
        top5=found.top5,
        cross_entropy=found.cross_entropy,
        seconds_per_image=found.seconds_per_image,
        batch_size=batch,
        params=counted.params,
        flops=counted.flops,
        confusion=found.confusion,
        **more,
    )


def compare(
    model: keras.Model,
    tree: keras.Model | SplitTree,
    data: Any,
    *,
    form: str = "none",
    devices: Sequence[str] = (),
    trunk: str = "replicate",
    batch_size: int | None = None,
) -> Comparison:
    """Measures an unsplit network and its tree on the same data.

    Args:
      model: the network before the cut, grouped or plain.
      tree: the tree that was made of it.
      data, batch_size: see ``evaluate_model``.
      form: form of the tree on one device, see ``evaluate_model``.
      devices, trunk: with devices, the tree is measured on them as well, as ``placed``.

    Returns:
      The evaluations ``unsplit``, ``split`` and, with devices, ``placed``.
    """
    found = {
        "unsplit": evaluate_model(model, data, batch_size=batch_size),
        "split": evaluate_model(tree, data, form=form, batch_size=batch_size),
    }
    if devices:
        found["placed"] = evaluate_model(
            tree, data, devices=devices, trunk=trunk, batch_size=batch_size
        )
    return Comparison(found)


def batches_of(data: Any, batch_size: int | None = None) -> Iterable[tuple]:
    """Batches (x, integer labels) that can be read again, of what ``evaluate_model`` takes."""
    if isinstance(data, tuple):
        size = batch_size or min(100, max(1, len(data[1]) // SPEED_BATCHES))
        data = tf.data.Dataset.from_tensor_slices(data).batch(size)
    if isinstance(data, tf.data.Dataset):
        return data.map(lambda x, y, *_: (x, tf.argmax(y, -1) if y.shape.rank == 2 else y))
    return data
