"""One training step: cross entropy, the model's own losses, L2, SGD with momentum."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import keras
import tensorflow as tf

from splitnet_tf.training.fused_batch_norm import fused_batch_norms
from splitnet_tf.training.options import TrainOptions

KERNELS = ("kernel", "depthwise_kernel", "pointwise_kernel")


def is_kernel(variable: keras.Variable) -> bool:
    """Whether L2 applies: convolution and dense kernels, not biases, norms or assignments."""
    return variable.name in KERNELS


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


class TrainStep:
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
        self._step = tf.function(self._run, jit_compile=options.jit_compile)

    @property
    def variables(self) -> list[keras.Variable]:
        """All that a checkpoint must hold."""
        return [*self.model.variables, *self.optimizer.variables]

    def __call__(self, images, labels, learning_rate: float) -> dict[str, tf.Tensor]:
        """Trains on one batch.

        Args:
          images: float32 (B, H, W, C).
          labels: int32 (B,).
          learning_rate: of this step.

        Returns:
          Scalars: cross_entropy, model_losses and accuracy of the batch, before the step, and
          gradients: their sum, which is not finite when any of them is not.
        """
        return self._step(images, labels, tf.constant(learning_rate, tf.float32))

    def _run(self, images, labels, learning_rate):
        model = self.model
        with tf.GradientTape() as tape, fused_batch_norms(model):
            logits = tf.cast(model(images, training=True), tf.float32)
            cross_entropy = mean_cross_entropy(labels, logits, self.options.label_smoothing)
            extra = tf.add_n(model.losses) if model.losses else tf.zeros(())
            loss = cross_entropy + tf.cast(extra, tf.float32)
        variables = model.trainable_variables
        gradients = tape.gradient(loss, [v.value for v in variables])
        scaled = []
        for variable, gradient, scale in zip(variables, gradients, self._scales, strict=True):
            if gradient is None:
                gradient = tf.zeros_like(variable.value)
            if self.options.l2_weight and is_kernel(variable):
                gradient += self.options.l2_weight * variable.value
            scaled.append(gradient * scale if scale != 1.0 else gradient)
        self.optimizer.learning_rate.assign(learning_rate)
        self.optimizer.apply(scaled, variables)
        hits = tf.equal(tf.argmax(logits, axis=1, output_type=labels.dtype), labels)
        return {
            "cross_entropy": cross_entropy,
            "model_losses": tf.cast(extra, tf.float32),
            "accuracy": tf.reduce_mean(tf.cast(hits, tf.float32)),
            "gradients": tf.add_n([tf.cast(tf.reduce_sum(g), tf.float32) for g in scaled]),
        }

    def l2(self) -> float:
        """The L2 term as it stands, for logging."""
        return self.options.l2_weight * half_squares(self.model.trainable_variables)
