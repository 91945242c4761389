"""One training step: cross entropy, the model's own losses, L2, SGD with momentum."""

from __future__ import annotations

import abc
from collections.abc import Callable, Iterable

import keras
import tensorflow as tf

from splitnet_tf.graph.kernels import is_kernel
from splitnet_tf.recipe.mixed_precision import bfloat16_layers
from splitnet_tf.training.fused_batch_norm import fused_batch_norms
from splitnet_tf.training.options import TrainOptions


def half_squares(variables: Iterable[keras.Variable]) -> float:
    """Half the sum of the squared kernels."""
    return sum(float(tf.nn.l2_loss(v.value)) for v in variables if is_kernel(v))


def mean_cross_entropy(labels, logits, smoothing: float = 0.0) -> tf.Tensor:
    """The mean softmax cross entropy of a batch.

    Args:
      labels: int (B,).
      logits: float32 (B, classes).
      smoothing: share of the target spread over all classes.
    """
    if not smoothing:
        losses = tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits)
    else:
        classes = logits.shape[-1]
        targets = tf.one_hot(labels, classes) * (1 - smoothing) + smoothing / classes
        losses = tf.nn.softmax_cross_entropy_with_logits(targets, logits)
    return tf.reduce_mean(losses)


def with_l2(
    gradients: Iterable[tf.Tensor], variables: Iterable[keras.Variable], weight: float
) -> list[tf.Tensor]:
    """Gradients with that of ``weight`` times half the squared kernels added."""
    return [
        g + weight * v.value if weight and is_kernel(v) else g
        for g, v in zip(gradients, variables, strict=True)
    ]


def step_scalars(labels, logits, cross_entropy, model_losses, gradients) -> dict[str, tf.Tensor]:
    """What a step returns; ``model_losses`` and ``gradients`` are lists of tensors."""
    hits = tf.equal(tf.argmax(logits, axis=1, output_type=labels.dtype), labels)
    own = [tf.cast(v, tf.float32) for v in model_losses]
    return {
        "cross_entropy": cross_entropy,
        **{f"model_loss_{i}": value for i, value in enumerate(own)},
        "model_losses": tf.add_n(own) if own else tf.zeros(()),
        "accuracy": tf.reduce_mean(tf.cast(hits, tf.float32)),
        "gradients": tf.add_n([tf.cast(tf.reduce_sum(g), tf.float32) for g in gradients]),
    }


class BaseTrainStep(abc.ABC):
    """What ``Trainer`` needs of a training step; ``self._step`` is the ``tf.function``."""

    @property
    @abc.abstractmethod
    def variables(self) -> list[keras.Variable]:
        """All that a checkpoint must hold."""

    @abc.abstractmethod
    def l2(self) -> float:
        """The L2 term as it stands, for logging."""

    def __call__(self, images, labels, learning_rate: float) -> dict[str, tf.Tensor]:
        """Trains on one batch.

        Args:
          images: float32 (B, H, W, C).
          labels: int32 (B,).
          learning_rate: of this step.

        Returns:
          Scalars: cross_entropy, each of the model's losses and their sum, and accuracy of the
          batch, before the step, and gradients: their sum, not finite when any of them is not.
        """
        return self._step(images, labels, tf.constant(learning_rate, tf.float32))


class TrainStep(BaseTrainStep):
    """Trains a model on one batch; a ``tf.function`` after the first call.

    The loss is the mean softmax cross entropy + the sum of ``model.losses`` + l2_weight times
    half the squared kernels. The gradient of the last is added directly.

    Args:
      model: returns logits (B, classes).
      options: momentum, l2_weight and the like.
      scale: the factor on a variable's gradient; with SGD, a learning rate of its own.
    """

    def __init__(
        self,
        model: keras.Model,
        options: TrainOptions,
        scale: Callable[[keras.Variable], float] = lambda variable: 1.0,
    ):
        self.model = model
        self.options = options
        self.optimizer = keras.optimizers.SGD(
            0.0, momentum=options.momentum, nesterov=options.nesterov
        )
        self.optimizer.build(model.trainable_variables)
        self._scales = [float(scale(v)) for v in model.trainable_variables]
        self._step = tf.function(self._run, jit_compile=options.jit_compile, autograph=False)

    @property
    def variables(self) -> list[keras.Variable]:
        return [*self.model.variables, *self.optimizer.variables]

    def _run(self, images, labels, learning_rate):
        model = self.model
        precision = bfloat16_layers(model, self.options.bfloat16)
        with tf.GradientTape() as tape, precision, fused_batch_norms(model):
            logits = tf.cast(model(images, training=True), tf.float32)
            cross_entropy = mean_cross_entropy(labels, logits, self.options.label_smoothing)
            extra = [tf.cast(loss, tf.float32) for loss in model.losses]
            loss = tf.add_n([cross_entropy, *extra])
        variables = model.trainable_variables
        gradients = tape.gradient(loss, [v.value for v in variables])
        gradients = [
            tf.zeros_like(v.value) if g is None else g
            for g, v in zip(gradients, variables, strict=True)
        ]
        gradients = with_l2(gradients, variables, self.options.l2_weight)
        scaled = [
            g * scale if scale != 1.0 else g
            for g, scale in zip(gradients, self._scales, strict=True)
        ]
        self.optimizer.learning_rate.assign(learning_rate)
        self.optimizer.apply(scaled, variables)
        return step_scalars(labels, logits, cross_entropy, extra, scaled)

    def l2(self) -> float:
        return self.options.l2_weight * half_squares(self.model.trainable_variables)
