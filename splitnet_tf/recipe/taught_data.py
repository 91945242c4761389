"""Data with a teacher's answers beside the labels, for Keras' ``fit`` on any backend."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np

from splitnet_tf.errors import ArgumentError
from splitnet_tf.recipe.distillation import with_answers


class TaughtData(keras.utils.PyDataset):
    """Training batches whose labels are those of ``TaughtCrossEntropy``.

    The teacher answers each batch as the model sees it, in inference. Its answers to images that
    the model itself augments, in layers of its own, are those to the images before.

    Args:
      data: arrays (x, y) or (x, y, sample weights), or a ``keras.utils.PyDataset`` of such batches.
        y are integers (N,) or (N, 1), or one-hot (N, classes).
      teacher: Keras model of the same inputs that returns logits (N, classes).
      batch_size: int, examples in a batch of arrays. Defaults to 32.
      seed: int, seed of the order of arrays, another one each epoch. Defaults to 0.

    Raises:
      ArgumentError: data of another kind.

    >>> net = sn.models.mlp((8,), num_classes=3, input_shape=(6,))
    >>> data = sn.TaughtData((np.zeros((4, 6)), np.array([0, 1, 2, 0])), net, batch_size=2)
    >>> len(data), tuple(data[0][1].shape)
    (2, (2, 4))
    """

    def __init__(self, data: Any, teacher: keras.Model, batch_size: int = 32, seed: int = 0):
        super().__init__()
        is_dataset = isinstance(data, keras.utils.PyDataset)
        if not is_dataset and not (isinstance(data, tuple) and len(data) in (2, 3)):
            raise ArgumentError(
                "`data` must be arrays (x, y) or (x, y, sample weights), or a PyDataset; got "
                f"{type(data).__name__}."
            )
        self._data, self._teacher = data, teacher
        self._batch_size, self._rng = batch_size, np.random.default_rng([seed, 31])
        self._order = None if is_dataset else self._rng.permutation(len(data[1]))

    def __len__(self) -> int:
        if self._order is None:
            return self._data.num_batches
        return -(-len(self._order) // self._batch_size)

    def __getitem__(self, index: int) -> tuple:
        if self._order is None:
            x, y, *weights = self._data[index]
        else:
            chosen = self._order[index * self._batch_size : (index + 1) * self._batch_size]
            x, y, *weights = keras.tree.map_structure(lambda a: np.asarray(a)[chosen], self._data)
        answers = self._teacher.predict_on_batch(x)
        labels = keras.ops.convert_to_numpy(with_answers(np.asarray(y), answers))
        return x, labels, *weights

    def on_epoch_end(self) -> None:
        """Draws the order of the next epoch."""
        if self._order is None:
            self._data.on_epoch_end()
        else:
            self._order = self._rng.permutation(len(self._order))
