"""One phase of training through ``fit``, on any backend; a phase that was stopped goes on."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Mapping
from pathlib import Path

import keras
import numpy as np
from keras import ops

from experiments.recipe import Phase
from experiments.resuming import Progress, cut_log, restore
from splitnet_tf.data import Split
from splitnet_tf.errors import DataError, TrainingError
from splitnet_tf.recipe.preprocessing import with_preprocessing

EVALUATION_BATCH = 500
PROGRESS = "progress.npz"


class PacedSGD(keras.optimizers.SGD):
    """SGD that multiplies the gradients of some variables.

    Args:
      paces: factor of each variable, by ``id``; 0: it stays as it is.
    """

    def __init__(self, *args, paces: Mapping[int, float] = (), **kwargs):
        super().__init__(*args, **kwargs)
        self._paces = dict(paces)

    def apply(self, grads, trainable_variables=None):
        variables = trainable_variables
        if variables is None:  # as on JAX, where the optimizer knows them
            variables = self._trainable_variables
        paced = [
            g if g is None or id(v) not in self._paces else g * self._paces[id(v)]
            for g, v in zip(grads, variables, strict=True)
        ]
        super().apply(paced, trainable_variables)


class TrainingOrder(keras.utils.PyDataset):
    """The batches of one part of a phase after the other, each epoch in an order of its own.

    ``fit`` calls each part an epoch. All have the same number of batches, as ``fit`` wants it;
    to that end a phase is longer or shorter than it says, by half a batch a part at most.

    Args:
      split: training data.
      batch_size: images a batch; what an epoch leaves over is not used in it.
      seed: of the orders.
      epochs: of the phase; need not be whole.
      parts: of an epoch.
    """

    def __init__(self, split: Split, batch_size: int, seed: int, epochs: float, parts: int = 1):
        super().__init__()
        self._split, self._batch_size, self._seed = split, batch_size, seed
        self.batches_per_epoch = len(split) // batch_size
        batches = epochs * self.batches_per_epoch
        self.num_parts = max(1, min(round(epochs * parts), int(batches)))
        self._length = max(1, round(batches / self.num_parts))
        self.part = 0
        self._order = (-1, None)

    def __len__(self) -> int:
        return self._length

    @property
    def steps(self) -> int:
        """Of the whole phase."""
        return self.num_parts * self._length

    def __getitem__(self, index: int):
        epoch, batch = divmod(self.part * self._length + index, self.batches_per_epoch)
        if self._order[0] != epoch:
            rng = np.random.default_rng([self._seed, 31, epoch])
            self._order = (epoch, rng.permutation(len(self._split)))
        start = batch * self._batch_size
        chosen = self._order[1][start : start + self._batch_size]
        return self._split.images[chosen], self._split.labels[chosen]


@keras.saving.register_keras_serializable(package="splitnet_tf_experiments")
class Rate(keras.optimizers.schedules.LearningRateSchedule):
    """The learning rate of a phase of ``steps`` at each step."""

    def __init__(self, phase: Phase, steps: int):
        self.phase, self.steps = phase, steps

    def __call__(self, step):
        share, phase = ops.minimum(ops.cast(step, "float32") / self.steps, 1.0), self.phase
        if phase.drops:
            bounds = [ops.cast(share >= d / phase.epochs, "float32") for d in phase.drops]
            return phase.rate * 0.1 ** sum(bounds)
        return phase.final_rate + (phase.rate - phase.final_rate) * 0.5 * (
            1.0 + ops.cos(math.pi * share)
        )

    def get_config(self):
        return {"phase": self.phase, "steps": self.steps}


def fit_phase(
    model: keras.Model,
    phase: Phase,
    train: Split,
    valid: Split,
    folder: Path,
    seed: int,
    *,
    batch_size: int,
    label_smoothing: float = 0.0,
    nesterov: bool = True,
    paces: Mapping[int, float] = (),
    parts: int = 1,
    before_part: Callable[[float], None] = lambda share: None,
) -> None:
    """Trains a model from images whitened to logits; its weights are the result.

    Args:
      model: its ``losses`` are added to the cross entropy.
      phase: how long, and how.
      train, valid: of the data.
      folder: of the log, ``log.csv``, and of ``PROGRESS``, which a stopped phase goes on from.
      seed: of the order and the augmentation.
      batch_size: images a step.
      label_smoothing: of the cross entropy.
      nesterov: momentum of 0.9 looks ahead.
      paces: see ``PacedSGD``.
      parts: of an epoch, before each of which ``before_part`` is called with a number that goes
        from 0, in the first part of the phase, to 1 in the last.

    Raises:
      DataError: there are fewer images than ``batch_size``.
      TrainingError: the loss is not finite.
      RunError: what is in the folder is of another model.
    """
    if not phase.epochs:
        return
    if len(train) < batch_size:
        raise DataError(f"There are {len(train)} training images; a batch has {batch_size}.")
    order = TrainingOrder(train, batch_size, seed, phase.epochs, parts)
    whole = with_preprocessing(model, seed)
    for variable in model.trainable_variables:
        if variable.name in ("kernel", "depthwise_kernel", "pointwise_kernel"):
            variable.regularizer = keras.regularizers.L2(phase.l2 / 2)
    whole.compile(
        PacedSGD(
            Rate(phase, order.steps),
            momentum=0.9,
            nesterov=nesterov,
            paces=paces,
            use_ema=phase.ema > 0,
            ema_momentum=phase.ema or 0.99,
        ),
        cross_entropy(model.output_shape[-1], label_smoothing),
        metrics=["accuracy"],
        jit_compile="auto" if keras.backend.backend() == "jax" else False,
    )

    class Parts(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            order.part = epoch
            before_part(epoch / max(1, order.num_parts - 1))

        def on_epoch_end(self, epoch, logs=None):
            if not math.isfinite(logs["loss"]):
                raise TrainingError(
                    f"The loss is {logs['loss']} in part {epoch + 1} of {order.num_parts} of the "
                    f"phase '{folder.name}'; lower its learning rate."
                )

    folder.mkdir(parents=True, exist_ok=True)
    done = restore(whole, folder / PROGRESS)
    cut_log(folder / "log.csv", done)
    with _fast_batch_norms(whole):
        whole.fit(
            fast_batches(order),
            shuffle=False,
            initial_epoch=done,
            epochs=order.num_parts,
            **validation_data(valid),
            validation_freq=parts,
            verbose=2,
            callbacks=[
                Parts(),
                keras.callbacks.CSVLogger(str(folder / "log.csv"), append=True),
                Progress(folder / PROGRESS, order.num_parts),
            ],
        )


def fast_batches(order: TrainingOrder):
    """The batches of a part as ``fit`` takes them soonest.

    TensorFlow's ``fit`` reads a ``PyDataset`` through ``from_generator``, which slows the
    allocator down and waits at the end of each part (``splitnet_tf/data/pipeline.py``); it gets a
    data set that does neither.
    """
    if keras.backend.backend() != "tensorflow":
        return order
    import tensorflow as tf

    from splitnet_tf.data.pipeline import untuned

    types = tuple(tf.as_dtype(a.dtype) for a in order[0])
    shapes = tuple((None, *a.shape[1:]) for a in order[0])  # as fit has it: the same to the bit

    @tf.autograph.experimental.do_not_convert
    def load(index):
        batch = tf.numpy_function(lambda i: order[int(i)], [index], types)
        return tuple(map(tf.ensure_shape, batch, shapes))

    return untuned(tf.data.Dataset.range(len(order)).map(load).prefetch(2))


def evaluation_data(split: Split) -> dict:
    """Arguments of ``evaluate``: images and labels, in a data set of ours where Keras makes one."""
    if keras.backend.backend() != "tensorflow":
        return {"x": split.images, "y": split.labels, "batch_size": EVALUATION_BATCH}
    import tensorflow as tf

    from splitnet_tf.data.pipeline import untuned

    data = tf.data.Dataset.from_tensor_slices((split.images, split.labels))
    return {"x": untuned(data.batch(EVALUATION_BATCH).prefetch(2))}


def validation_data(split: Split) -> dict:
    """Arguments of ``fit``, likewise."""
    found = evaluation_data(split)
    if "y" not in found:
        return {"validation_data": found["x"]}
    return {
        "validation_data": (found["x"], found["y"]),
        "validation_batch_size": found["batch_size"],
    }


class Accuracy:
    """Share of right answers of a model that takes whitened images; compiled once."""

    def __init__(self, model: keras.Model):
        self._whole = with_preprocessing(model, 0)
        self._whole.compile(metrics=["accuracy"], loss=cross_entropy(model.output_shape[-1], 0.0))

    def __call__(self, split: Split) -> float:
        with _fast_batch_norms(self._whole):
            found = self._whole.evaluate(**evaluation_data(split), verbose=0, return_dict=True)
        return float(found["accuracy"])


def cross_entropy(classes: int, smoothing: float):
    """Loss of logits (B, classes) for labels (B,), each label smoothed to all classes."""

    def loss(labels, logits):
        targets = ops.one_hot(ops.cast(ops.reshape(labels, (-1,)), "int32"), classes)
        targets = targets * (1.0 - smoothing) + smoothing / classes
        return ops.categorical_crossentropy(targets, logits, from_logits=True)

    return loss


@contextlib.contextmanager
def _fast_batch_norms(model: keras.Model):
    """TensorFlow's fused kernel, a third faster on a CPU; the other backends compile their own."""
    if keras.backend.backend() != "tensorflow":
        yield
        return
    from splitnet_tf.training.fused_batch_norm import fused_batch_norms

    with fused_batch_norms(model):
        yield
