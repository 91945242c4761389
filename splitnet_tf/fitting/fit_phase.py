"""One phase of training through ``fit``, on any backend; a phase that was stopped goes on."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import keras

from splitnet_tf.data import Split
from splitnet_tf.errors import ArgumentError, DataError, TrainingError
from splitnet_tf.fitting.batches import TrainingOrder, fast_batches, validation_data
from splitnet_tf.fitting.resuming import Progress, cut_log, restore
from splitnet_tf.fitting.taught import AnsweredLoss, beside_teacher
from splitnet_tf.graph.kernels import is_kernel
from splitnet_tf.recipe import (
    CrossEntropy,
    Phase,
    Preprocessing,
    Rate,
    optimizer_for,
    with_preprocessing,
)
from splitnet_tf.recipe.augmentation import CROP_FLIP
from splitnet_tf.recipe.distillation import TaughtCrossEntropy

PROGRESS = "progress.npz"
LOG = "log.csv"


def fit_phase(
    model: keras.Model,
    phase: Phase,
    train: Split,
    valid: Split,
    folder: Path,
    seed: int,
    *,
    batch_size: int,
    preprocessing: Preprocessing,
    augment: str = CROP_FLIP,
    paces: Mapping[int, float] = (),
    callbacks: Sequence[keras.callbacks.Callback] = (),
    teacher: keras.Model | None = None,
    teaching: TaughtCrossEntropy | None = None,
) -> None:
    """Trains a model in place, from prepared images to logits.

    Args:
      model: Keras model from prepared images (B, H, W, C) to logits (B, classes); its ``losses``
        are added to the cross entropy.
      phase: how long it is trained, and how.
      train, valid: training and validation data, uint8 images and int labels.
      folder: folder of ``LOG`` and of ``PROGRESS``, which a stopped phase goes on from.
      seed: int, seed of the order and the augmentation.
      batch_size: int, images in a batch.
      preprocessing: preparation of the images, after the augmentation.
      augment: name of an augmentation, such as ``"none"``. Defaults to ``"crop_flip"``.
      paces: factors on the learning rate of variables by ``id``, see ``recipe.SGD``.
      callbacks: more callbacks of ``fit``, before those that write.
      teacher: trained network of the same inputs and classes, which returns logits. Defaults to
        none.
      teaching: loss with a teacher, or on groups. Defaults to the cross entropy of the phase, and
        with a teacher to ``TaughtCrossEntropy``.

    Raises:
      ArgumentError: a phase that mixes examples, which needs the training loop.
      DataError: fewer images than ``batch_size``.
      TrainingError: a loss that is not finite.
      RunError: the folder holds the progress of another model.
    """
    if phase.mixup or phase.cutmix:
        raise ArgumentError("`mixup` and `cutmix` are for the training loop; leave them out here.")
    if not phase.epochs:
        return
    if len(train) < batch_size:
        raise DataError(f"There are {len(train)} training images; a batch has {batch_size}.")
    order = TrainingOrder(train, batch_size, seed, phase.epochs)
    loss, network = teaching or CrossEntropy(phase.label_smoothing), model
    if teacher is not None:
        teaching = teaching or TaughtCrossEntropy(label_smoothing=phase.label_smoothing)
        loss = AnsweredLoss(teaching, model.output_shape[-1])
        network = beside_teacher(model, teacher)
    whole = with_preprocessing(network, preprocessing, augment=augment, seed=seed)
    folder.mkdir(parents=True, exist_ok=True)
    rate = Rate(phase, order.batches_per_epoch, order.steps)
    with compiled(whole, phase, rate, paces, loss):
        done = restore(whole, folder / PROGRESS)
        cut_log(folder / LOG, done)
        whole.fit(
            fast_batches(order),
            shuffle=False,
            initial_epoch=done,
            epochs=order.fit_epochs,
            **validation_data(valid),
            verbose=2,
            callbacks=[
                _Turn(order, folder.name),
                *callbacks,
                keras.callbacks.CSVLogger(str(folder / LOG), append=True),
                Progress(folder / PROGRESS, order.fit_epochs),
            ],
        )


class _Turn(keras.callbacks.Callback):
    """Turns the order to each epoch of ``fit``; ends a phase whose loss is not finite."""

    def __init__(self, order: TrainingOrder, name: str):
        super().__init__()
        self._order, self._name = order, name

    def on_epoch_begin(self, epoch, logs=None):
        self._order.fit_epoch = epoch

    def on_epoch_end(self, epoch, logs=None):
        for loss, remedy in (("loss", ""), ("val_loss", ", or compute in float32")):
            if not math.isfinite(logs[loss]):
                raise TrainingError(
                    f"The {loss} is {logs[loss]} in epoch {epoch + 1} of {self._order.fit_epochs} "
                    f"of the phase '{self._name}'; lower its learning rate{remedy}."
                )


@contextlib.contextmanager
def compiled(
    model: keras.Model,
    phase: Phase,
    learning_rate,
    paces: Mapping[int, float] = (),
    loss: keras.losses.Loss | None = None,
) -> Iterator[None]:
    """While inside, ``model`` is compiled for a phase, its L2 included; for ``fit`` and the like.

    Args:
      model: returns logits.
      phase: its optimizer, loss and L2 are used.
      learning_rate: float, or a schedule of Keras, such as ``recipe.Rate``.
      paces: see ``fit_phase``.
      loss: with an ``accuracy``. Defaults to the cross entropy of the phase.
    """
    loss = loss or CrossEntropy(phase.label_smoothing)
    kernels = [(v, v.regularizer) for v in model.trainable_variables if is_kernel(v)]
    model.compile(
        optimizer_for(phase, paces, learning_rate=learning_rate),
        loss,
        metrics=[keras.metrics.MeanMetricWrapper(loss.accuracy, name="accuracy")],
        jit_compile="auto" if keras.backend.backend() == "jax" else False,
    )
    l2 = keras.regularizers.L2(phase.l2 / 2)
    try:
        for variable, own in kernels:
            variable.regularizer = l2 if own is None else lambda w, own=own: own(w) + l2(w)
        with fast_layers(model):
            yield
    finally:
        for variable, own in kernels:
            variable.regularizer = own


@contextlib.contextmanager
def fast_layers(model: keras.Model) -> Iterator[None]:
    """TensorFlow's layers as its own loop traces them; other backends compile their own."""
    if keras.backend.backend() != "tensorflow":
        yield
        return
    from splitnet_tf.training.fused_batch_norm import fused_batch_norms
    from splitnet_tf.training.kernel_gradients import product_gradients

    with fused_batch_norms(model), product_gradients(model):
        yield
