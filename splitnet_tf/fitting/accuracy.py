"""The accuracy of a classifier through ``evaluate``, on any backend."""

from __future__ import annotations

import math

import keras

from splitnet_tf.data import Split
from splitnet_tf.errors import TrainingError
from splitnet_tf.fitting.batches import evaluation_data
from splitnet_tf.fitting.fit_phase import fast_layers
from splitnet_tf.recipe import CrossEntropy, Preprocessing, with_preprocessing


class Accuracy:
    """Share of right answers of a model; compiled once.

    Args:
      model: Keras model from prepared images (B, H, W, C) to logits (B, classes).
      preprocessing: preparation of the images, which are bytes.

    Raises:
      TrainingError: answers that are not finite, when it is called.
    """

    def __init__(self, model: keras.Model, preprocessing: Preprocessing):
        self._name = model.name
        self._whole = with_preprocessing(model, preprocessing)
        self._whole.compile(metrics=["accuracy"], loss=CrossEntropy())

    def __call__(self, split: Split) -> float:
        with fast_layers(self._whole):
            found = self._whole.evaluate(**evaluation_data(split), verbose=0, return_dict=True)
        if not math.isfinite(found["loss"]):
            raise TrainingError(
                f"The answers of '{self._name}' are not finite; look for weights that are "
                "not, or compute in float32."
            )
        return float(found["accuracy"])
