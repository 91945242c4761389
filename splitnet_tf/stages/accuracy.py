"""Accuracies that a stage tells of: on the test data, and before the first step."""

from __future__ import annotations

import logging

import keras

from splitnet_tf.data.feeds import Feed
from splitnet_tf.errors import DataError
from splitnet_tf.recipe.losses import CrossEntropy
from splitnet_tf.training import Evaluation
from splitnet_tf.training.evaluation import evaluator


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


def at_start(model: keras.Model, valid: Feed, loss: keras.losses.Loss) -> dict[str, float]:
    """Validation accuracy before the first step, where training starts from a trained model."""
    found = accuracy_of(model, valid, loss)
    logging.info("Before the first step: validation accuracy %.2f%%.", 100 * found.top1)
    return {"valid_accuracy_at_start": found.top1}


def check_labels(train: Feed, model: keras.Model, loss: keras.losses.Loss) -> None:
    """Raises DataError for class numbers in memory that the model has no logit for."""
    labels = train.labels()
    if not isinstance(loss, CrossEntropy) or labels is None or labels.size != len(labels):
        return
    classes = model.outputs[0].shape[-1]
    if labels.min() < 0 or labels.max() >= classes:
        raise DataError(
            f"Labels must be from 0 to {classes - 1}, the classes of the model; those of the "
            f"training data are from {labels.min()} to {labels.max()}."
        )
