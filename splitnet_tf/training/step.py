"""One training step: the loss, the model's own losses, L2, the optimizer."""

from __future__ import annotations

import abc
import contextlib
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import keras
import tensorflow as tf

from splitnet_tf.errors import ArgumentError
from splitnet_tf.graph.keras_reader import all_layers
from splitnet_tf.graph.kernels import is_kernel
from splitnet_tf.graph.mixed_precision import bfloat16_layers, in_float32
from splitnet_tf.graph.state import without_settings
from splitnet_tf.recipe.losses import HeadLosses, by_output, output_names
from splitnet_tf.training.fused_batch_norm import fused_batch_norms
from splitnet_tf.training.kernel_gradients import product_gradients

Loss = keras.losses.Loss | HeadLosses


def half_squares(variables: Iterable[keras.Variable]) -> float:
    """Half the sum of the squared kernels."""
    return sum(float(tf.nn.l2_loss(v.value)) for v in variables if is_kernel(v))


def with_l2(
    gradients: Iterable[tf.Tensor], variables: Iterable[keras.Variable], weight
) -> list[tf.Tensor]:
    """Gradients with that of ``weight`` times half the squared kernels added."""
    return [
        g + weight * v.value if is_kernel(v) else g
        for g, v in zip(gradients, variables, strict=True)
    ]


def step_scalars(cross_entropy, model_losses, accuracies, gradients) -> dict[str, tf.Tensor]:
    """Scalars that a step returns.

    Args:
      cross_entropy: the loss of the data.
      model_losses: list of scalars, the model's own.
      accuracies: float32 (B,), share of right answers of each example.
      gradients: list of tensors.
    """
    own = [tf.cast(v, tf.float32) for v in model_losses]
    sums = [tf.cast(tf.reduce_sum(g), tf.float32) for g in gradients]
    return {
        "cross_entropy": cross_entropy,
        **{f"model_loss_{i}": value for i, value in enumerate(own)},
        "model_losses": tf.add_n(own) if own else tf.zeros(()),
        "accuracy": tf.reduce_mean(accuracies),
        "gradients": tf.add_n(sums) if sums else tf.zeros(()),
    }


def check_rate(optimizer: keras.optimizers.Optimizer) -> None:
    """Refuses an optimizer whose learning rate cannot be set at each step."""
    if not isinstance(optimizer.learning_rate, keras.Variable):
        raise ArgumentError(
            "`optimizer` has a learning rate of its own, a schedule; make it with a number: each "
            "step sets the rate."
        )


class BaseTrainStep(abc.ABC):
    """Training step as ``Trainer`` uses it; ``self._step`` is the ``tf.function``.

    Attributes:
      model: callable that is evaluated, ``model(x, training=False)``.
      loss: loss of the data, see ``recipe.losses``.
      forward: function of a batch that evaluates in place of the model; None for the model.
    """

    model: Any
    loss: Loss
    forward: Callable | None = None

    @property
    @abc.abstractmethod
    def variables(self) -> list[keras.Variable]:
        """All that a checkpoint must hold."""

    @abc.abstractmethod
    def l2(self) -> float:
        """The L2 term as it stands, for logging."""

    @abc.abstractmethod
    def updates(self) -> list[tuple[keras.optimizers.Optimizer, list[keras.Variable]]]:
        """The optimizers, each with the variables that it trains."""

    def finish(self) -> bool:
        """Gives the model its averaged weights, where the optimizer keeps some; True if it did."""
        averaging = self._averaging()
        for optimizer, variables in averaging:
            optimizer.finalize_variable_values(variables)
        return bool(averaging)

    @contextlib.contextmanager
    def averaged(self) -> Iterator[None]:
        """While inside, the model has the weights that ``finish`` would give it."""
        trained = [v for _, variables in self._averaging() for v in variables]
        values = [tf.identity(v.value) for v in trained]
        self.finish()
        try:
            yield
        finally:
            for variable, value in zip(trained, values, strict=True):
                variable.assign(value)

    def _averaging(self) -> list[tuple[keras.optimizers.Optimizer, list[keras.Variable]]]:
        return [
            (optimizer, variables)
            for optimizer, variables in self.updates()
            if getattr(optimizer, "inner_optimizer", optimizer).use_ema and len(variables)
        ]

    def graph(self, x, y) -> tf.Graph:
        """The graph that trains on such a batch."""
        return self._step.get_concrete_function(x, y, tf.constant(0.0), None).graph

    def __call__(self, x, y, rate: float, sample_weight=None) -> dict[str, tf.Tensor]:
        """Trains on one batch.

        Args:
          x: what the model takes, such as float32 images (B, H, W, C).
          y: labels as the loss takes them, such as int32 (B,); for several outputs a dict or list.
          rate: learning rate of this step.
          sample_weight: float (B,), factor on the loss of each example. Defaults to 1.

        Returns:
          Scalars: cross_entropy (the loss of the data), each of the model's losses and their sum,
          and accuracy of the batch (without sample weights), before the step, and gradients: their
          sum, not finite when any of them is not.
        """
        return self._step(x, y, tf.constant(rate, tf.float32), sample_weight)


class TrainStep(BaseTrainStep):
    """Trains a model on one batch; a ``tf.function`` after the first call.

    The loss is that of the data + the sum of ``model.losses`` + l2 times half the squared kernels.
    The gradient of the last is added directly.

    Args:
      model: returns logits (B, classes), or several of them. Layers in float16 train under
        ``keras.optimizers.LossScaleOptimizer``, which is put around ``optimizer``.
      loss: from ``recipe.losses``.
      optimizer: of Keras, such as one of ``recipe.optimizers``; each step sets its learning rate.
      l2: float, weight of half the sum of the squared kernels. Defaults to 0.
      bfloat16: bool, whether layers of float32 compute in bfloat16 while they train; weights,
        losses and L2 stay in float32. Defaults to False.
      jit_compile: bool, whether XLA compiles the step. Defaults to False.
    """

    def __init__(
        self,
        model: keras.Model,
        loss: Loss,
        optimizer: keras.optimizers.Optimizer,
        *,
        l2: float = 0.0,
        bfloat16: bool = False,
        jit_compile: bool = False,
    ):
        check_rate(optimizer)
        if computes_in_float16(model) and not _scales(optimizer):
            optimizer = keras.optimizers.LossScaleOptimizer(optimizer)
        optimizer.build(model.trainable_variables)
        self.model = model
        self.loss = loss
        self.optimizer = optimizer
        self._l2 = l2
        self._bfloat16 = bfloat16
        self._jit_compile = jit_compile
        self._step = tf.function(self._run, jit_compile=jit_compile, autograph=False)

    @property
    def variables(self) -> list[keras.Variable]:
        return [*without_settings(self.model.variables), *self.optimizer.variables]

    def _run(self, x, y, rate, sample_weight):
        optimizer, variables = self.optimizer, self.model.trainable_variables
        cross_entropy, extra, accuracies, gradients = self._differentiated(x, y, sample_weight)
        gradients = [
            tf.zeros_like(v.value) if g is None else g
            for g, v in zip(gradients, variables, strict=True)
        ]
        if self._l2:
            gradients = with_l2(gradients, variables, optimizer.scale_loss(self._l2))
        optimizer.learning_rate.assign(rate)
        optimizer.apply(gradients, variables)
        # Loss scaling looks for gradients that are not finite, and leaves their step out.
        checked = () if _scales(optimizer) else gradients
        return step_scalars(cross_entropy, extra, accuracies, checked)

    @contextlib.contextmanager
    def _layers(self) -> Iterator[None]:
        """While inside, layers are traced as they train: fast, and in the precision chosen."""
        model = self.model
        products = contextlib.nullcontext() if self._jit_compile else product_gradients(model)
        with bfloat16_layers(model, self._bfloat16), fused_batch_norms(model), products:
            yield

    def _differentiated(self, x, y, sample_weight) -> tuple:
        """Loss of the data, the model's own losses, accuracies, gradients of their scaled sum."""
        model, optimizer = self.model, self.optimizer
        with tf.GradientTape() as tape, self._layers():
            outputs = in_float32(model(x, training=True))
            if isinstance(self.loss, HeadLosses):
                names = output_names(model)
                y, outputs = by_output(y, names), by_output(outputs, names)
            cross_entropy = self.loss(y, outputs, sample_weight=sample_weight)
            extra = [tf.cast(loss, tf.float32) for loss in model.losses]
            total = optimizer.scale_loss(tf.add_n([cross_entropy, *extra]))
        gradients = tape.gradient(total, [v.value for v in model.trainable_variables])
        return cross_entropy, extra, self.loss.accuracy(y, outputs), gradients

    def l2(self) -> float:
        return self._l2 * half_squares(self.model.trainable_variables)

    def updates(self) -> list[tuple[keras.optimizers.Optimizer, list[keras.Variable]]]:
        return [(self.optimizer, self.model.trainable_variables)]


def computes_in_float16(model: keras.Model) -> bool:
    """True when a layer computes in float16, whose gradients need scaling."""
    return any(layer.compute_dtype == "float16" for layer in all_layers(model))


def _scales(optimizer: keras.optimizers.Optimizer) -> bool:
    return isinstance(optimizer, keras.optimizers.LossScaleOptimizer)
