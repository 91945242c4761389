"""The loss of a model on a data set: one for each output that has labels."""

from __future__ import annotations

import keras
import numpy as np

from splitnet_tf.data import Dataset
from splitnet_tf.data.dataset import is_class_numbers
from splitnet_tf.errors import ArgumentError
from splitnet_tf.recipe.losses import BinaryCrossEntropy, CrossEntropy, HeadLosses, loss_for
from splitnet_tf.stages.networks import check_outputs, named_outputs


def data_loss(
    dataset: Dataset, model: keras.Model, label_smoothing: float = 0.0
) -> keras.losses.Loss | HeadLosses:
    """The loss of a classifier on a data set.

    Class numbers have softmax cross entropy, several classes an example the binary one, and
    floats the mean squared error. Outputs without labels have none.

    Args:
      dataset: its labels choose the losses.
      model: returns logits.
      label_smoothing: float from 0 to below 1, of the main output. Defaults to 0.

    Raises:
      ArgumentError: labels of an output that the model does not have, or of another shape.
    """
    if dataset.train.output is None:
        return loss_for(model, label_smoothing, dataset.multi_label)
    others = dataset.train.others
    what = f"Model '{model.name}'"
    check_outputs(what, model, (dataset.train.output, *others))
    losses = {dataset.train.output: _kind(dataset.train.labels, label_smoothing)}
    for name, labels in others.items():
        shape = tuple(named_outputs(model)[name].shape[1:])
        if not _fits(labels, shape):
            raise ArgumentError(
                f"{what}: its output '{name}' has the shape {shape} for an example, which does "
                f"not fit its labels, {labels.dtype} {labels.shape} from {labels.min()} to "
                f"{labels.max()}."
            )
        losses[name] = _kind(labels)
    return HeadLosses(losses, dataset.train.output)


def _kind(labels: np.ndarray, label_smoothing: float = 0.0) -> keras.losses.Loss:
    if labels.dtype.kind == "f":
        return keras.losses.MeanSquaredError()
    return (CrossEntropy if labels.ndim == 1 else BinaryCrossEntropy)(label_smoothing)


def _fits(labels: np.ndarray, shape: tuple[int, ...]) -> bool:
    if is_class_numbers(labels):
        return len(shape) == 1 and labels.max() < shape[0]
    return shape == (labels.shape[1:] or (1,))
