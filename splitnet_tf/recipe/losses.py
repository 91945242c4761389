"""Losses of logits: cross entropy, its multi-label form, and several outputs at once.

Each loss has ``accuracy(y_true, y_pred)``, the share of right answers for each example, and
``multi_label``. Models end in logits, not in probabilities.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import keras
from keras import ops

from splitnet_tf.errors import ArgumentError
from splitnet_tf.graph.keras_reader import functional_model


class _LogitsLoss(keras.losses.Loss):
    """Base of the losses here: float32, averaged over the batch."""

    def __init__(
        self,
        label_smoothing: float = 0.0,
        name: str | None = None,
        reduction: str | None = "sum_over_batch_size",
    ):
        if not 0 <= label_smoothing < 1:
            raise ArgumentError(
                f"`label_smoothing` must be from 0 to below 1; got {label_smoothing!r}."
            )
        super().__init__(name=name, reduction=reduction, dtype="float32")
        self.label_smoothing = label_smoothing

    def get_config(self):
        return {**super().get_config(), "label_smoothing": self.label_smoothing}


@keras.saving.register_keras_serializable(package="splitnet_tf")
class CrossEntropy(_LogitsLoss):
    """Softmax cross entropy of logits: each example belongs to one class.

    Args:
      label_smoothing: float from 0 to below 1, share of the target spread evenly over all
        classes. Defaults to 0.
      name: string, name of the loss.
      reduction: string, as Keras' losses have it. Defaults to the mean over the batch, of losses
        times sample weights where there are some.

    Labels are integers (B,) or (B, 1), or one-hot or soft labels (B, classes). Logits are
    (B, classes), of any float type; the loss is float32.

    >>> loss = CrossEntropy()
    >>> round(float(loss(np.array([1]), np.zeros((1, 2)))), 4)  # log 2
    0.6931
    """

    multi_label = False

    def call(self, y_true, y_pred):
        """The loss of each example, float32 (B,)."""
        classes = y_pred.shape[-1]
        sparse = _is_sparse(y_true, y_pred)
        if sparse and not self.label_smoothing:
            return ops.sparse_categorical_crossentropy(_indices(y_true), y_pred, from_logits=True)
        targets = ops.one_hot(_indices(y_true), classes, dtype=y_pred.dtype) if sparse else y_true
        if self.label_smoothing:
            targets = targets * (1.0 - self.label_smoothing) + self.label_smoothing / classes
        return ops.categorical_crossentropy(targets, y_pred, from_logits=True)

    def accuracy(self, y_true, y_pred):
        """1 for each example whose largest logit is its class, else 0, float32 (B,)."""
        sparse = _is_sparse(y_true, y_pred)
        labels = _indices(y_true) if sparse else ops.argmax(y_true, axis=-1)
        found = ops.argmax(y_pred, axis=-1)
        return ops.cast(ops.equal(ops.cast(labels, "int32"), ops.cast(found, "int32")), "float32")


@keras.saving.register_keras_serializable(package="splitnet_tf")
class BinaryCrossEntropy(_LogitsLoss):
    """Sigmoid cross entropy of logits, mean over the classes: an example may have several.

    Args:
      label_smoothing: float from 0 to below 1, share of the target that is one half. Defaults
        to 0.
      name, reduction: as ``CrossEntropy``.

    Labels are 0 or 1 (or between), (B, classes). Logits are (B, classes), of any float type; the
    loss is float32.

    >>> loss = BinaryCrossEntropy()
    >>> round(float(loss(np.array([[1, 0]]), np.zeros((1, 2)))), 4)  # log 2
    0.6931
    """

    multi_label = True

    def call(self, y_true, y_pred):
        """The loss of each example, float32 (B,)."""
        targets = _like(y_true, y_pred)
        if self.label_smoothing:
            targets = targets * (1.0 - self.label_smoothing) + 0.5 * self.label_smoothing
        return ops.mean(ops.binary_crossentropy(targets, y_pred, from_logits=True), axis=-1)

    def accuracy(self, y_true, y_pred):
        """Share of an example's classes that are rightly there or not, float32 (B,)."""
        right = ops.equal(_like(y_true, y_pred) > 0.5, y_pred > 0)
        return ops.mean(ops.cast(right, "float32"), axis=-1)


class HeadLosses:
    """Losses of a model with several outputs: their sum; the accuracy of one of them.

    Args:
      losses: Keras loss of each output that has one, by output name.
      main: string, name of the output whose accuracy is reported and which is validated.

    Labels are a dict by output name, or a list in the order of the model's outputs. Sample
    weights are one array (B,) for all outputs, or a dict by output name. ``compile`` takes
    ``for_compile(losses, model)``.

    Raises:
      ArgumentError: ``main`` has no loss here, or one without ``accuracy``.
    """

    def __init__(self, losses: Mapping[str, keras.losses.Loss], main: str):
        self.losses = dict(losses)
        self.main = main
        if not hasattr(self.losses.get(main), "accuracy"):
            raise ArgumentError(
                f"`main` must name an output whose loss has an accuracy, such as CrossEntropy; "
                f"got {main!r} of {', '.join(self.losses)}."
            )

    @property
    def multi_label(self) -> bool:
        """True where an example of the main output may have several classes."""
        return self.losses[self.main].multi_label

    def __call__(self, y_true: Mapping, y_pred: Mapping, sample_weight=None):
        """The sum of the losses, a scalar.

        Args:
          y_true, y_pred: labels and logits by output name.
          sample_weight: see above.
        """
        weights = sample_weight
        if not isinstance(weights, Mapping):
            weights = dict.fromkeys(self.losses, sample_weight)
        return sum(
            loss(y_true[name], y_pred[name], sample_weight=weights.get(name))
            for name, loss in self.losses.items()
        )

    def accuracy(self, y_true: Mapping, y_pred: Mapping):
        """The accuracy of the main output, float32 (B,)."""
        return self.losses[self.main].accuracy(y_true[self.main], y_pred[self.main])


def loss_for(
    model: keras.Model,
    label_smoothing: float = 0.0,
    multi_label: bool = False,
    main: str | None = None,
) -> keras.losses.Loss | HeadLosses:
    """The loss of a classifier: ``CrossEntropy``, or ``HeadLosses`` for several outputs.

    Args:
      model: returns logits.
      label_smoothing: float from 0 to below 1, see ``CrossEntropy``. Defaults to 0.
      multi_label: bool, whether an example may have several classes. Defaults to False.
      main: string, the main one of several outputs. Defaults to the first.
    """
    kind = BinaryCrossEntropy if multi_label else CrossEntropy
    names = output_names(model)
    if len(names) == 1:
        return kind(label_smoothing)
    return HeadLosses({name: kind(label_smoothing) for name in names}, main or names[0])


def for_compile(loss: keras.losses.Loss | HeadLosses, model: keras.Model):
    """Argument ``loss`` of ``model.compile`` for a loss of this module."""
    if not isinstance(loss, HeadLosses):
        return loss
    return {name: loss.losses.get(name) for name in output_names(model)}


def output_names(model: keras.Model) -> list[str]:
    """Names of a model's outputs: the keys of a dict of outputs, else the last layers' names."""
    model = functional_model(model)
    return list(model.output if isinstance(model.output, dict) else model.output_names)


def by_output(values: Any, names: Sequence[str]) -> dict[str, Any]:
    """Outputs or labels of several outputs by name.

    Args:
      values: a dict, or a list in the order of ``names``.
      names: see ``output_names``.

    Raises:
      ArgumentError: neither, or another number of them.
    """
    if isinstance(values, Mapping):
        return dict(values)
    if not isinstance(values, (list, tuple)) or len(values) != len(names):
        raise ArgumentError(
            f"Labels must be a dict or a list for the outputs {', '.join(names)}; got "
            f"{type(values).__name__}."
        )
    return dict(zip(names, values, strict=True))


def _is_sparse(y_true, y_pred) -> bool:
    """True where labels are class numbers, (B,) or (B, 1), not a number for each class."""
    shape = tuple(y_true.shape)
    if len(shape) == 1 or (len(shape) == 2 and shape[1] == 1):
        return True
    if len(shape) != 2 or shape[1] != y_pred.shape[-1]:
        raise ArgumentError(
            f"Labels must be class numbers (B,), or one-hot (B, {y_pred.shape[-1]}) as the "
            f"logits; got the shape {shape}."
        )
    return False


def _indices(labels):
    return ops.cast(ops.reshape(labels, (-1,)), "int32")


def _like(y_true, y_pred):
    """Labels in the shape (B, classes) of the logits."""
    if len(y_true.shape) == 1 and y_pred.shape[-1] == 1:
        y_true = ops.expand_dims(y_true, -1)
    if len(y_true.shape) != 2 or y_true.shape[-1] != y_pred.shape[-1]:
        raise ArgumentError(
            f"Labels of several classes must have the logits' shape (B, {y_pred.shape[-1]}); got "
            f"{tuple(y_true.shape)}."
        )
    return ops.cast(y_true, "float32")
