"""Accuracy, cross entropy, confusions and speed of a classifier."""

from __future__ import annotations

import dataclasses
import statistics
import time
from collections.abc import Callable, Iterable

import numpy as np
import tensorflow as tf

from splitnet_tf.errors import DataError


@dataclasses.dataclass(frozen=True)
class Evaluation:
    """What ``evaluate`` found.

    Attributes:
      images: how many were seen.
      top1, top5: shares whose class is the first, or among the first five.
      cross_entropy: mean, in nats.
      confusion: int64 (classes, classes), rows the true class.
      seconds_per_image: median over batches, the first (tracing) apart; None for one batch.
    """

    images: int
    top1: float
    top5: float
    cross_entropy: float
    confusion: np.ndarray
    seconds_per_image: float | None


def compiled_forward(model: Callable) -> Callable:
    """``model(images, training=False)`` as float32, traced once for batches of any size."""

    @tf.function(reduce_retracing=True, autograph=False)
    def forward(images):
        return tf.cast(model(images, training=False), tf.float32)

    return forward


def evaluate(forward: Callable, batches: Iterable, over: Callable = map) -> Evaluation:
    """Evaluates a model that returns logits.

    Args:
      forward: from ``compiled_forward``: images to logits, float32 (B, classes).
      batches: (float32 images (B, H, W, C), int labels (B,)).
      over: as ``map``; ``splitnet_tf.parallel.stream`` keeps several batches under way.

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
            if not np.isfinite(np.sum(x)):
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
    return _score(
        np.concatenate(logits),
        np.concatenate(labels),
        statistics.median(timed) if timed else None,
    )


def _score(logits: np.ndarray, labels: np.ndarray, seconds: float | None) -> Evaluation:
    classes = logits.shape[1]
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
    confusion = np.zeros((classes, classes), np.int64)
    np.add.at(confusion, (labels, logits.argmax(axis=1)), 1)
    return Evaluation(
        len(labels),
        float(np.mean(rank < 1)),
        float(np.mean(rank < 5)),
        float(-np.mean(log_p[np.arange(len(labels)), labels])),
        confusion,
        seconds,
    )
