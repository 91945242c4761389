"""Accuracies that a stage tells of: on the test data, and before the first step."""

from __future__ import annotations

import logging
import math
from typing import Any

import keras
import numpy as np

from splitnet_tf.data.feeds import Feed
from splitnet_tf.recipe.losses import CrossEntropy
from splitnet_tf.training import Evaluation
from splitnet_tf.training.evaluation import evaluator

ROUNDING = 0.002  # share of answers that may differ because of the order of additions


def accuracy_of(
    model: keras.Model, feed: Feed, loss: keras.losses.Loss | None = None
) -> Evaluation:
    """Accuracy and cross entropy of a model on data, see ``evaluator``."""
    return evaluator(model, loss)(feed.evaluation())


def tested(model: keras.Model, test: Feed | None, loss: keras.losses.Loss) -> dict[str, float]:
    """Values of ``result.json`` on the test data; none without test data."""
    if test is None:
        return {}
    found = accuracy_of(model, test, loss)
    return {
        "test_accuracy": found.top1,
        "test_top5": found.top5,
        "test_cross_entropy": found.cross_entropy,
    }


def at_start(
    model: keras.Model,
    valid: Feed,
    loss: keras.losses.Loss,
    *,
    trained: keras.Model | None = None,
    preprocessing: Any = None,
) -> dict[str, float]:
    """Validation accuracy before the first step, where training starts from a trained model.

    It is compared with that of ``keras.Model.predict``; a warning says where they differ, or where
    a trained model does no better than chance.

    Args:
      model: to be trained.
      valid, loss: validation data, and the loss that the model is trained by.
      trained: the model as it was before it was grouped. Defaults to ``model``.
      preprocessing: of the data, for the sentence.
    """
    found = accuracy_of(model, valid, loss)
    logging.info("Before the first step: validation accuracy %.2f%%.", 100 * found.top1)
    plain = predicted_accuracy(trained or model, valid, loss)
    if plain is not None and abs(plain - found.top1) > max(ROUNDING, 1.5 / found.images):
        logging.warning(
            "The accuracy before the first step is %.2f%%, but %.2f%% by keras.Model.predict on "
            "the same data: please report the model's layers.",
            *(100 * found.top1, 100 * plain),
        )
    warn_of_chance(found, f"Model '{model.name}'", preprocessing)
    return {"valid_accuracy_at_start": found.top1}


def predicted_accuracy(model: keras.Model, feed: Feed, loss: keras.losses.Loss) -> float | None:
    """Share of right answers by ``keras.Model.predict``; None for several outputs or classes."""
    if not isinstance(loss, CrossEntropy) or len(model.outputs) != 1:
        return None
    right = []
    for x, y, *_ in feed.evaluation():
        answers = np.argmax(model.predict_on_batch(x), axis=-1)
        labels = np.asarray(y)
        if labels.ndim > 1:
            labels = labels.argmax(-1) if labels.shape[-1] > 1 else labels[:, 0]
        right.append(answers == labels)
    return float(np.mean(np.concatenate(right)))


def warn_of_chance(found: Evaluation, what: str, preprocessing: Any = None) -> None:
    """Warns of a trained model that does no better than chance, within two standard errors.

    Args:
      found: evaluation of the model.
      what: string, names the model.
      preprocessing: of the data, for the sentence.
    """
    if found.confusion is None:  # several classes an example
        return
    chance = 1 / len(found.confusion)
    error = math.sqrt(chance * (1 - chance) / found.images)
    if found.top1 > chance + 2 * error:
        return
    prepared = "" if preprocessing is None else f" with `preprocessing={preprocessing}`"
    logging.warning(
        "%s is right for %.2f%% of %d examples%s, which is chance (1 of %d classes): if it is "
        "trained, it was fed otherwise.",
        *(what, 100 * found.top1, found.images, prepared, len(found.confusion)),
    )
