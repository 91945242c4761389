"""Batches as ``fit`` and ``evaluate`` take them, in a seeded order."""

from __future__ import annotations

from collections.abc import Iterator

import keras

from splitnet_tf.data import Pictures, Split
from splitnet_tf.data.order import calibration_order, epoch_order
from splitnet_tf.errors import DataError
from splitnet_tf.recipe.preprocessing import Preprocessing

EVALUATION_BATCH = 500


class TrainingOrder(keras.utils.PyDataset):
    """The batches of a phase, each epoch in an order of its own.

    The epochs of ``fit`` must have the same number of batches. A phase is therefore longer or
    shorter than it says by at most half a batch for each of them, and 2.5 epochs are two epochs
    of ``fit``.

    Args:
      split: training data, uint8 images (N, H, W, C) and int labels (N,).
      batch_size: int, images in a batch; what an epoch leaves over is not used in it.
      seed: int, seed of the orders.
      epochs: float above 0, length of the phase; need not be whole.

    Attributes:
      fit_epoch: int, the epoch of ``fit`` whose batches are given.
    """

    def __init__(self, split: Split, batch_size: int, seed: int, epochs: float):
        super().__init__()
        self._split, self._batch_size, self._seed = split, batch_size, seed
        self.batches_per_epoch = len(split) // batch_size
        batches = epochs * self.batches_per_epoch
        self.fit_epochs = max(1, min(round(epochs), int(batches)))
        self._length = max(1, round(batches / self.fit_epochs))
        self.fit_epoch = 0
        self._order = (-1, None)

    def __len__(self) -> int:
        return self._length

    @property
    def steps(self) -> int:
        """Batches of the whole phase."""
        return self.fit_epochs * self._length

    def __getitem__(self, index: int):
        epoch, batch = divmod(self.fit_epoch * self._length + index, self.batches_per_epoch)
        if self._order[0] != epoch:
            self._order = (epoch, epoch_order(self._seed, epoch, len(self._split)))
        start = batch * self._batch_size
        chosen = self._order[1][start : start + self._batch_size]
        return self._split.images[chosen], self._split.labels[chosen]


def fast_batches(order: TrainingOrder):
    """The batches of an epoch of ``fit`` in the form that ``fit`` reads fastest.

    TensorFlow's ``fit`` reads a ``PyDataset`` through ``from_generator``, which slows the
    allocator down and waits at the end of each epoch (``splitnet_tf/data/pipeline.py``). There it
    gets a data set that does neither.
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
    """Arguments of ``evaluate``: images and labels, in a data set of ours where Keras makes one.

    Raises:
      DataError: the images are pictures on disk, which ``fit`` does not read.
    """
    if isinstance(split.images, Pictures):
        raise DataError(
            "Pictures that stay on disk are read by the programs and by sn.learn_groups and its "
            "like, not by fit; make an .npz file of them, or take pictures of one size that fit "
            "into memory."
        )
    if keras.backend.backend() != "tensorflow":
        return {"x": split.images, "y": split.labels, "batch_size": EVALUATION_BATCH}
    import tensorflow as tf

    from splitnet_tf.data.pipeline import untuned

    data = tf.data.Dataset.from_tensor_slices((split.images, split.labels))
    return {"x": untuned(data.batch(EVALUATION_BATCH).prefetch(2))}


def validation_data(split: Split) -> dict:
    """Arguments of ``fit``: the same as its validation data."""
    found = evaluation_data(split)
    if "y" not in found:
        return {"validation_data": found["x"]}
    return {
        "validation_data": (found["x"], found["y"]),
        "validation_batch_size": found["batch_size"],
    }


def calibration_batches(
    split: Split, batch_size: int, count: int, seed: int = 0, *, preprocessing: Preprocessing
) -> Iterator:
    """At most ``count`` prepared batches in a seeded order, to estimate batch norms on.

    ``data.calibration_batches`` has the same for the training loop.

    Returns:
      Tensors, float32 (B, H, W, C).
    """
    chosen = calibration_order(seed, len(split))[: batch_size * count]
    for start in range(0, len(chosen), batch_size):
        yield preprocessing(split.images[chosen[start : start + batch_size]])
