"""Batch norms of averaged weights: their statistics are those of the weights before averaging."""

from __future__ import annotations

import keras

from splitnet_tf.data.feeds import Feed
from splitnet_tf.recipe import recalibrate_batch_norm
from splitnet_tf.recipe.phase import Phase
from splitnet_tf.stages.accuracy import accuracy_of

BATCHES = 100  # of training data


def settle_averages(
    model: keras.Model, phase: Phase, train: Feed, valid: Feed, loss: keras.losses.Loss
) -> float | None:
    """Re-estimates the batch norms of a model whose phase ended with averaged weights.

    Returns:
      The validation accuracy after it; None for a phase without averages, whose model stays as it
      is.
    """
    if not phase.ema:
        return None
    recalibrate_batch_norm(model, train.training(), BATCHES)
    return accuracy_of(model, valid, loss).top1
