"""Checks of a user's data against the model and the loss, before the first step."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import keras
import numpy as np

from splitnet_tf.data.feeds import Feed
from splitnet_tf.errors import ArgumentError, DataError
from splitnet_tf.graph.keras_reader import functional_model
from splitnet_tf.recipe.losses import CrossEntropy, HeadLosses, by_output, output_names
from splitnet_tf.stages.networks import named_outputs

TOLERANCE = 1e-3  # of the sum of an example's labels


def check_data(
    model: keras.Model, loss: keras.losses.Loss | HeadLosses, **feeds: Feed | None
) -> None:
    """Checks shapes and labels of data, by a first batch where nothing else tells them.

    Args:
      model: to be trained.
      loss: that it is trained by.
      **feeds: the data, by the name of the argument that they were given as; None is skipped.

    Raises:
      ArgumentError: examples of another shape than the model takes, data that are not in batches,
        or rows of labels that do not sum to 1 where the loss is softmax cross entropy.
      DataError: class numbers in memory that the model has no logit for.
    """
    for name, feed in feeds.items():
        if feed is not None:
            check_inputs(name, feed, model)
            _check_class_numbers(name, feed, model, loss)
            _check_rows(name, feed, model, loss)


def check_inputs(name: str, feed: Feed, model: keras.Model) -> None:
    """Raises ArgumentError where a model of one input cannot take the examples of a feed.

    Args:
      name: name of the argument that the data were given as.
      feed: the data.
      model: functional or built sequential.
    """
    batch = feed.structure()
    if not isinstance(batch, tuple) or len(batch) not in (2, 3):
        raise ArgumentError(
            f"`{name}` must give batches (x, y) or (x, y, sample weights), tuples; got "
            f"{type(batch).__name__} {batch!r:.100}."
        )
    x, y = batch[:2]
    inputs, found = functional_model(model).inputs, keras.tree.flatten(x)
    if len(inputs) != 1 or len(found) != 1 or found[0].shape.rank is None:
        return
    shape, wanted = tuple(found[0].shape), tuple(inputs[0].shape)[1:]
    single = all(label.shape.rank == 0 for label in keras.tree.flatten(y))
    if _fits(shape, wanted) and (single or not _taken(shape[1:], wanted)):
        raise ArgumentError(
            f"`{name}` gives single examples of shape {shape}, where batches are needed; call "
            "batch(n) of the tf.data.Dataset first."
        )
    if not _taken(shape[1:], wanted):
        raise ArgumentError(
            f"`{name}` has examples of shape {shape[1:]}, but model '{model.name}' takes {wanted}; "
            "give data of that shape, or a model made for this one."
        )


def _taken(shape: tuple, wanted: tuple) -> bool:
    """True where Keras takes examples of a shape: it adds and drops a last axis of length 1."""
    return (
        _fits(shape, wanted)
        or (shape[-1:] == (1,) and _fits(shape[:-1], wanted))
        or (wanted[-1:] == (1,) and _fits(shape, wanted[:-1]))
    )


def _fits(shape: tuple, wanted: tuple) -> bool:
    return len(shape) == len(wanted) and all(
        a is None or b is None or a == b for a, b in zip(shape, wanted, strict=True)
    )


def _check_class_numbers(name: str, feed: Feed, model: keras.Model, loss: Any) -> None:
    labels = feed.labels()
    if not isinstance(loss, CrossEntropy) or labels is None or labels.size != len(labels):
        return
    classes = model.outputs[0].shape[-1]
    if labels.min() < 0 or labels.max() >= classes:
        raise DataError(
            f"Labels must be from 0 to {classes - 1}, the classes of the model; those of `{name}` "
            f"are from {labels.min()} to {labels.max()}."
        )


def _check_rows(name: str, feed: Feed, model: keras.Model, loss: Any) -> None:
    """Checks that rows of labels of softmax cross entropy are shares of the classes."""
    wide = [k for k, label, n in _labels(feed.structure(), model, loss) if _is_wide(label, n)]
    if not wide:
        return
    first = feed.first()
    weights = np.asarray(first[2]) if len(first) > 2 and not keras.tree.is_nested(first[2]) else 1.0
    for key, labels, _ in _labels(first, model, loss):
        if key not in wide:
            continue
        rows = np.asarray(labels, "float64")
        shares = (rows >= -TOLERANCE).all(1) & (np.abs(rows.sum(1) - 1) <= TOLERANCE)
        wrong = np.flatnonzero(~shares & (np.ravel(weights) != 0))
        if len(wrong):
            row = rows[wrong[0]]
            raise ArgumentError(
                f"`{name}` has labels that softmax cross entropy does not take: those of an image "
                f"must be shares that sum to 1, but image {wrong[0]} has labels from {row.min():g} "
                f"to {row.max():g} that sum to {row.sum():g}; pass `loss=sn.BinaryCrossEntropy()` "
                "for several labels an image."
            )


def _labels(batch: tuple, model: keras.Model, loss: Any) -> Iterator[tuple[str, Any, int]]:
    """Labels of each output that softmax cross entropy trains: (output, labels, classes)."""
    if isinstance(loss, CrossEntropy):
        if not keras.tree.is_nested(batch[1]):
            yield "", batch[1], model.outputs[0].shape[-1]
        return
    if isinstance(loss, HeadLosses):
        given, outputs = by_output(batch[1], output_names(model)), named_outputs(model)
        for key, own in loss.losses.items():
            if isinstance(own, CrossEntropy) and key in given:
                yield key, given[key], outputs[key].shape[-1]


def _is_wide(label: Any, classes: int) -> bool:
    """True for labels with a number for each class; a teacher's answers may stand beside others."""
    return label.shape.rank == 2 and label.shape[-1] in (classes, None) and classes > 1
