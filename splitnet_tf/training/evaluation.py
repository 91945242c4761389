"""Accuracy, cross entropy, confusions and speed of a classifier.

Every example counts once: sample weights are for training, and are passed over here.
"""

from __future__ import annotations

import contextlib
import dataclasses
import statistics
import time
from collections.abc import Callable, Iterable, Iterator

import keras
import numpy as np
import tensorflow as tf

from splitnet_tf.errors import DataError
from splitnet_tf.graph.mixed_precision import bfloat16_layers
from splitnet_tf.recipe.losses import by_output, output_names
from splitnet_tf.training.fused_batch_norm import fused_batch_norms


@dataclasses.dataclass(frozen=True)
class Evaluation:
    """Result of ``evaluate``.

    Attributes:
      images: examples seen.
      top1, top5: shares whose class is the first, or among the first five. With several classes an
        example, ``top1`` is the share of right answers over all classes and ``top5`` is None.
      cross_entropy: mean, in nats; with several classes also over these.
      confusion: int64 (classes, classes), rows the true class; None with several classes.
      seconds_per_image: median over batches, the first (tracing) apart; None for one batch.
    """

    images: int
    top1: float
    top5: float | None
    cross_entropy: float
    confusion: np.ndarray | None
    seconds_per_image: float | None


@contextlib.contextmanager
def inference_layers(model: keras.Model, bfloat16: bool = False) -> Iterator[None]:
    """While inside, layers of ``model`` are traced as they are fast: batch norms in one kernel.

    Args:
      model: its layers are changed for the time being.
      bfloat16: bool, whether layers of float32 compute in bfloat16. Defaults to False.
    """
    with bfloat16_layers(model, bfloat16), fused_batch_norms(model):
        yield


def compiled_forward(
    model: Callable, head: str | None = None, *, bfloat16: bool = False
) -> Callable:
    """``model(images, training=False)`` as float32, traced once for batches of any size.

    Args:
      model: returns logits, or several; a ``keras.Model``, or a placed tree.
      head: string, name of the one of several outputs that is returned.
      bfloat16: bool, whether layers of float32 compute in bfloat16. A placed tree is made so.
        Defaults to False.
    """
    own = isinstance(model, keras.Model)

    @tf.function(reduce_retracing=True, autograph=False)
    def forward(images):
        with inference_layers(model, bfloat16) if own else contextlib.nullcontext():
            outputs = model(images, training=False)
        if head is not None:
            outputs = by_output(outputs, output_names(model))[head]
        return tf.cast(outputs, tf.float32)

    return forward


def evaluator(
    model: Callable,
    loss=None,
    forward: Callable | None = None,
    over: Callable = map,
    *,
    bfloat16: bool = False,
) -> Callable[[Iterable], Evaluation]:
    """Function that evaluates a model on batches (x, y) or (x, y, sample_weight), traced once.

    Args:
      model: as ``compiled_forward``.
      loss: that it is trained by, see ``recipe.losses``: of several outputs the main one is
        evaluated; an example may have several classes. Defaults to one class an example.
      forward: function of a batch that gives the logits in place of the model, such as a placed
        tree. Defaults to ``compiled_forward`` of the model.
      over: see ``evaluate``. Defaults to ``map``.
      bfloat16: see ``compiled_forward``. Defaults to False.
    """
    head, several = getattr(loss, "main", None), getattr(loss, "multi_label", False)
    forward = forward or compiled_forward(model, head, bfloat16=bfloat16)

    def pairs(batches):
        for batch in batches:
            x, y, _ = keras.utils.unpack_x_y_sample_weight(batch)
            yield x, y if head is None else by_output(y, output_names(model))[head]

    return lambda batches: evaluate(forward, pairs(batches), over, multi_label=several)


def evaluate(
    forward: Callable, batches: Iterable, over: Callable = map, *, multi_label: bool = False
) -> Evaluation:
    """Evaluates a model that returns logits.

    Args:
      forward: from ``compiled_forward``: images to logits, float32 (B, classes).
      batches: (images, labels): float32 (B, H, W, C) or what the model takes; labels are int (B,)
        or (B, 1), or one-hot (B, classes); with ``multi_label`` 0 or 1, (B, classes).
      over: as ``map``; ``splitnet_tf.parallel.stream`` keeps several batches under way.
      multi_label: bool, whether an example may have several classes. Defaults to False.

    Raises:
      DataError: no batch, images that are not finite numbers, or labels that are no classes.
    """
    logits, labels, times = [], [], []
    reading = 0.0  # seconds since the last result

    def images():
        nonlocal reading
        rest = iter(batches)
        while True:
            begin = time.perf_counter()
            try:
                x, batch_labels = next(rest)
            except StopIteration:
                return
            if not all(np.isfinite(np.sum(part)) for part in keras.tree.flatten(x)):
                raise DataError(f"Batch {len(labels)}: its images are not finite numbers.")
            labels.append(np.asarray(batch_labels))
            reading += time.perf_counter() - begin
            yield x

    start = time.perf_counter()
    for found in over(forward, images()):
        logits.append(np.asarray(found))
        now = time.perf_counter()
        times.append((now - start - reading) / len(logits[-1]))
        start, reading = now, 0.0
    if not logits:
        raise DataError("evaluate needs one batch or more; got none.")
    # The last batch may be smaller, and is traced anew.
    timed = times[1:-1] or times[1:]
    score = _score_several if multi_label else _score
    return score(
        np.concatenate(logits),
        np.concatenate(labels),
        statistics.median(timed) if timed else None,
    )


def _score(logits: np.ndarray, labels: np.ndarray, seconds: float | None) -> Evaluation:
    classes = logits.shape[1]
    if labels.shape == (len(logits), 1):
        labels = labels[:, 0]
    targets = None
    if labels.shape == logits.shape:
        targets, labels = labels, labels.argmax(axis=1)
    if labels.shape != (len(logits),) or not np.issubdtype(labels.dtype, np.integer):
        raise DataError(
            f"labels must be an integer for each of {len(logits)} images; got {labels.dtype} "
            f"{labels.shape}."
        )
    if labels.min() < 0 or labels.max() >= classes:
        raise DataError(
            f"labels must be from 0 to {classes - 1}, the model's classes; got "
            f"{labels.min()} to {labels.max()}."
        )
    own = logits[np.arange(len(labels)), labels][:, None]
    # As argmax, the lower index wins among equals; a label whose logit is not a number is last.
    yields = (logits < own) | ((logits == own) & (np.arange(classes) >= labels[:, None]))
    rank = np.sum(~yields, axis=1)
    shifted = logits - logits.max(axis=1, keepdims=True)
    log_p = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    if targets is None:
        likelihoods = log_p[np.arange(len(labels)), labels]
    else:
        likelihoods = np.sum(targets * log_p, axis=1)
    confusion = np.zeros((classes, classes), np.int64)
    np.add.at(confusion, (labels, logits.argmax(axis=1)), 1)
    return Evaluation(
        len(labels),
        float(np.mean(rank < 1)),
        float(np.mean(rank < 5)),
        float(-np.mean(likelihoods)),
        confusion,
        seconds,
    )


def _score_several(logits: np.ndarray, labels: np.ndarray, seconds: float | None) -> Evaluation:
    if labels.shape != logits.shape or not np.isin(labels, (0, 1)).all():
        raise DataError(
            f"labels must be 0 or 1 for each of {logits.shape[1]} classes of {len(logits)} images; "
            f"got {labels.dtype} {labels.shape}."
        )
    # log(1 + exp(-x)) where the class is there, log(1 + exp(x)) where it is not.
    losses = np.logaddexp(0.0, np.where(labels == 1, -logits, logits))
    right = (logits > 0) == (labels == 1)
    return Evaluation(len(labels), float(right.mean()), None, float(losses.mean()), None, seconds)
