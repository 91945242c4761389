"""Accuracy, cost and speed of a classifier, alone or beside what it was made of."""

from __future__ import annotations

import dataclasses
import functools
import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import keras
import numpy as np

from splitnet_tf.analysis import text_table
from splitnet_tf.data.feeds import feed_of
from splitnet_tf.errors import PlanError
from splitnet_tf.graph import logits_model, plain_copy
from splitnet_tf.graph.copying import end_function
from splitnet_tf.grouping.grouped_layers import GroupedKernel
from splitnet_tf.parallel import one_device_forward, place, stream
from splitnet_tf.recipe.losses import HeadLosses
from splitnet_tf.splitting import SplitTree, is_tree
from splitnet_tf.stages.check_data import check_inputs
from splitnet_tf.stages.costs import cost_on
from splitnet_tf.stages.loop import classifier_loss
from splitnet_tf.training.evaluation import evaluator

BATCH = 100  # examples in a batch of arrays
REPEATS = 6  # of the first batch, where there are too few to be timed
# Names of a model before and after a method, for the line on the savings.
PAIRS = (("unsplit", "split"), ("whole", "shrunk"))
IN_BFLOAT16 = "_bfloat16"  # end of the names of evaluations in bfloat16
HEADER = ("", "top-1", "top-5", "cross entropy", "ms/image", "params (M)", "GFLOPs")


@dataclasses.dataclass(frozen=True)
class ModelEvaluation:
    """Accuracy, cost and speed of one model. Prints as a table.

    Attributes:
      model: name of the model, or the file that it was loaded from.
      images: int, examples seen.
      top1, top5: shares of the examples whose class is the first, or among the first five. With
        several classes an example, the share of right answers over all classes, and None.
      cross_entropy: mean over the examples, in nats.
      seconds_per_image: median over batches, or over repeats of the first where there are one or
        two; by a compiled function. None only in files of earlier versions.
      batch_size: int, examples in a batch.
      params, flops: parameters and FLOPs for one image, counted as the paper does.
      confusion: int64 (classes, classes), rows the true class; None with several classes.
      form: form of a tree on one device; empty for other models and for each branch by itself.
      forms: form -> seconds an image; empty unless the fastest form was looked for.
      trunk: mode of the trunk of a tree on several devices; empty for one device.
      placement: the tree's nodes on their devices, as text; empty for one device.
      preprocessing: how the inputs were prepared, as the flag has it; empty where not known.
      bfloat16: bool, whether its layers computed in bfloat16.
    """

    model: str
    images: int
    top1: float
    top5: float | None
    cross_entropy: float
    seconds_per_image: float | None
    batch_size: int
    params: int
    flops: int
    confusion: np.ndarray | None
    form: str = ""
    forms: Mapping[str, float] = dataclasses.field(default_factory=dict)
    trunk: str = ""
    placement: str = ""
    preprocessing: str = ""
    bfloat16: bool = False

    def to_document(self) -> dict[str, Any]:
        """Everything for a JSON document; a form or placement only where there is one."""
        found = {**vars(self), "forms": dict(self.forms)}
        if self.confusion is not None:
            found["confusion"] = self.confusion.tolist()
        for absent in (
            ("form", "forms"),
            ("trunk", "placement"),
            ("preprocessing",),
            ("bfloat16",),
        ):
            if not found[absent[0]]:
                found = {k: v for k, v in found.items() if k not in absent}
        return found

    def cells(self) -> tuple[str, ...]:
        """The numbers under ``HEADER``, without the name."""
        seconds = self.seconds_per_image
        return (
            f"{100 * self.top1:.2f}%",
            f"{100 * self.top5:.2f}%" if self.top5 is not None else "-",
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
      models: name -> evaluation. The names ``unsplit`` and ``split``, or ``whole`` and ``shrunk``,
        add a line on the savings.
    """

    models: Mapping[str, ModelEvaluation]

    def to_document(self) -> dict[str, Any]:
        """The evaluations by name for a JSON document."""
        return {name: found.to_document() for name, found in self.models.items()}

    def __str__(self) -> str:
        parts = [text_table(HEADER, [(_words(n), *e.cells()) for n, e in self.models.items()])]
        for names in (pair for pair in PAIRS if set(pair) <= set(self.models)):
            before, after = (self.models[name] for name in names)
            parts.append(
                f"ms/image: batches of {after.batch_size} in compiled functions; a plain call of a "
                "model takes longer"
            )
            parts.append(
                f"{100 * (1 - after.params / before.params):.1f}% fewer parameters, "
                f"{100 * (1 - after.flops / before.flops):.1f}% fewer FLOPs"
            )
        fed = {n: e.preprocessing for n, e in self.models.items() if e.preprocessing}
        if fed:
            several = len(set(fed.values())) > 1
            said = [f"{_words(n)} {p}" for n, p in fed.items()] if several else []
            parts.append(f"preprocessing: {', '.join(said) or next(iter(fed.values()))}")
        # In bfloat16 nodes are where they are in float32.
        parts += [e.placement for e in self.models.values() if e.placement and not e.bfloat16]
        parts += [e.about_form() for e in self.models.values() if e.form]
        return "\n\n".join(parts)


def evaluate_model(
    model: keras.Model | SplitTree,
    data: Any,
    *,
    loss: keras.losses.Loss | None = None,
    form: str = "none",
    devices: Sequence[str] = (),
    trunk: str = "replicate",
    batch_size: int = BATCH,
    name: str | None = None,
    preprocessing: str = "",
    bfloat16: bool = False,
) -> ModelEvaluation:
    """Measures accuracy, cost and speed of a classifier.

    Args:
      model: functional; returns logits (B, classes). A softmax at its end, or with several classes
        an example a sigmoid, is taken off. A grouped model is measured as the stock model that it
        was made of.
      data: arrays (x, y[, sample weight]), a ``tf.data.Dataset`` or a ``keras.utils.PyDataset``
        of such batches. Labels are integers or one-hot; every example counts once.
      loss: ``BinaryCrossEntropy`` for several classes an example, ``HeadLosses`` for several
        outputs of which the main one is measured. Defaults to one class and one output.
      form: form of a tree on one device: ``"none"``, ``"grouped"``, ``"jit"``, ``"grouped_jit"``,
        or ``"auto"`` for the fastest. Defaults to ``"none"``, each branch by itself.
      devices: names of devices to run a tree on, each branch on its own. Defaults to none.
      trunk: mode of the trunk on several devices, see ``place``.
      batch_size: int, examples in a batch of arrays; data in batches keep theirs. Defaults to 100.
      name: stands for the model in the result. Defaults to the model's name.
      preprocessing: how the data given here were prepared, for the result. Nothing is prepared.
        Defaults to not known.
      bfloat16: bool, whether layers of float32 compute in bfloat16. Defaults to False.

    Raises:
      ArgumentError: a sigmoid at the end without ``BinaryCrossEntropy``.
      DataError: no example, inputs that are not finite, or labels that are not classes.
      PlanError, PlacementError: a form or devices that the tree cannot have.

    >>> model = sn.models.mlp((8,), num_classes=4, input_shape=(6,))
    >>> model.layers[-1].set_weights([np.zeros((8, 4)), np.array([0, 1, 0, 0])])
    >>> found = sn.evaluate_model(model, (np.ones((20, 6)), np.arange(20) % 4))
    >>> found.top1, found.images, found.params  # always the second class
    (0.25, 20, 92)
    """
    model = model.model if isinstance(model, SplitTree) else model
    if any(isinstance(layer, GroupedKernel) for layer in model.layers):
        model = plain_copy(model)
    model = _with_logits(model, loss)
    feed = feed_of(data)
    check_inputs("data", feed, model)
    first = next(iter(feed.evaluation(batch_size)))
    images = first[0]
    batch = len(keras.tree.flatten(images)[0])
    forward, more, over = None, {}, map
    if form != "none":
        form, forward, timings = one_device_forward(
            SplitTree(model), form, images, bfloat16=bfloat16
        )
        more = {"form": form, "forms": {n: t.median / batch for n, t in timings.items()}}
    if devices:
        forward, over = place(SplitTree(model), devices, trunk, bfloat16=bfloat16), stream
        more = {"trunk": trunk, "placement": str(forward.placement)}
    measure = evaluator(model, loss, forward, over, bfloat16=bfloat16)
    found = measure(feed.evaluation(batch_size))
    seconds = found.seconds_per_image
    if found.images <= 2 * batch:
        seconds = measure(itertools.repeat(first, REPEATS)).seconds_per_image
    counted = cost_on(model, feed)
    return ModelEvaluation(
        model=name or model.name,
        images=found.images,
        top1=found.top1,
        top5=found.top5,
        cross_entropy=found.cross_entropy,
        seconds_per_image=seconds,
        batch_size=batch,
        params=counted.params,
        flops=counted.flops,
        confusion=found.confusion,
        preprocessing=preprocessing,
        bfloat16=bfloat16,
        **more,
    )


def compare(
    model: keras.Model,
    tree: keras.Model | SplitTree,
    data: Any,
    *,
    loss: keras.losses.Loss | None = None,
    form: str = "none",
    devices: Sequence[str] = (),
    trunk: str = "replicate",
    batch_size: int = BATCH,
    bfloat16: bool = False,
) -> Comparison:
    """Measures a network and its tree, or its shrunk form, on the same data.

    Args:
      model: the network before the cut or the shrink.
      tree: the tree or the smaller model that was made of it.
      data, loss, batch_size: see ``evaluate_model``.
      form: form of the tree on one device, see ``evaluate_model``.
      devices, trunk: with devices, the tree is measured on them as well, as ``placed``.
      bfloat16: bool, whether each is measured in bfloat16 as well, as ``split_bfloat16`` and so
        on. Defaults to False.

    Returns:
      The evaluations ``unsplit``, ``split`` and, with devices, ``placed``; or ``whole`` and
      ``shrunk`` where the second model is not a tree.

    >>> model = sn.models.mlp((8,), num_classes=4, input_shape=(6,))
    >>> plan = sn.SplitPlan.from_sections(model, [("logits", 2)])
    >>> tree = sn.split_model(model, sn.Grouping.even(plan))
    >>> found = sn.compare(model, tree, (np.ones((20, 6)), np.arange(20) % 4))
    >>> str(found).splitlines()[-1]
    '17.4% fewer parameters, 18.6% fewer FLOPs'
    """
    how = {"loss": loss, "batch_size": batch_size}
    before, after = PAIRS[0] if isinstance(tree, SplitTree) or is_tree(tree) else PAIRS[1]
    measured = {before: (model, {}), after: (tree, {"form": form})}
    if devices:
        measured["placed"] = (tree, {"devices": devices, "trunk": trunk})
    return in_precisions(
        {
            name: functools.partial(evaluate_model, network, data, **how, **more)
            for name, (network, more) in measured.items()
        },
        bfloat16,
    )


def in_precisions(
    measures: Mapping[str, Callable[..., ModelEvaluation]], bfloat16: bool
) -> Comparison:
    """Evaluates models in float32, and in bfloat16 beside it where that is wanted.

    Args:
      measures: name -> function that measures a model; it takes ``bfloat16=``.
      bfloat16: bool, whether each is measured twice.
    """
    found = {}
    for name, measure in measures.items():
        found[name] = measure()
        if bfloat16:
            found[name + IN_BFLOAT16] = measure(bfloat16=True)
    return Comparison(found)


def _with_logits(model: keras.Model, loss: keras.losses.Loss | None) -> keras.Model:
    """The model without the function of probabilities at its end."""
    if isinstance(loss, HeadLosses):
        return model
    several = getattr(loss, "multi_label", False)
    try:
        end = end_function(model)
    except PlanError:  # without a graph
        return model
    if end == ("sigmoid" if several else "softmax"):
        return logits_model(model, several)
    if end == "sigmoid":
        classifier_loss(model, 0.0)  # refuses it
    return model


def _words(name: str) -> str:
    """The name of an evaluation as a table has it."""
    return name.replace(IN_BFLOAT16, " bfloat16")
