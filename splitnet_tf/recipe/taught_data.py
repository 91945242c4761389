"""Data with a teacher's answers beside the labels, for Keras' ``fit`` on any backend."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import keras
import numpy as np

from splitnet_tf.errors import ArgumentError, PlanError
from splitnet_tf.graph.copying import end_function
from splitnet_tf.recipe.distillation import with_answers


class TaughtData(keras.utils.PyDataset):
    """Training batches whose labels are those of ``TaughtCrossEntropy``.

    The teacher answers each batch as the model sees it, in inference. Its answers to images that
    the model itself augments, in layers of its own, are those to the images before.

    Args:
      data: arrays (x, y) or (x, y, sample weights), or a ``keras.utils.PyDataset`` of such batches.
        y are integers (N,) or (N, 1), or one-hot (N, classes).
      teacher: Keras model of the same inputs and classes that returns logits (N, classes).
      batch_size: int, examples in a batch of arrays. Defaults to 32.
      seed: int, seed of the order of arrays, another one each epoch. Defaults to 0.
      class_weight: weight of each class in the loss, by its number; 1 for those it lacks. It
        multiplies the sample weights. Every batch has these, so that ``fit`` refuses a
        ``class_weight`` of its own, which would take the answers for the classes. Defaults to none.

    Raises:
      ArgumentError: data of another kind, a teacher that is not a Keras model or does not end in
        logits, a class weight that is not one; in a batch, labels of other classes than the
        teacher's.

    >>> net = sn.models.mlp((8,), num_classes=3, input_shape=(6,))
    >>> data = sn.TaughtData((np.zeros((4, 6)), np.array([0, 1, 2, 0])), net, batch_size=2)
    >>> len(data), tuple(data[0][1].shape)
    (2, (2, 4))
    """

    def __init__(
        self,
        data: Any,
        teacher: keras.Model,
        batch_size: int = 32,
        seed: int = 0,
        class_weight: Mapping[int, float] | None = None,
    ):
        super().__init__()
        _check_teacher(teacher)
        self._class_weight = dict(class_weight or {})
        if not all(int(k) == k >= 0 and 0 <= w < np.inf for k, w in self._class_weight.items()):
            raise ArgumentError(
                "`class_weight` must give a weight of 0 or more for classes by number; got "
                f"{class_weight!r}."
            )
        is_dataset = isinstance(data, keras.utils.PyDataset)
        if not is_dataset and not (isinstance(data, tuple) and len(data) in (2, 3)):
            raise ArgumentError(
                "`data` must be arrays (x, y) or (x, y, sample weights), or a PyDataset; got "
                f"{type(data).__name__}."
            )
        self._data = data if is_dataset else (data[0], *map(np.asarray, data[1:]))
        self._teacher = teacher
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
        answers, y = self._teacher.predict_on_batch(x), np.asarray(y)
        classes = _classes(y, np.shape(answers)[-1])
        own = np.array([self._class_weight.get(int(c), 1.0) for c in classes], "float32")
        for given in weights:
            own = own * np.asarray(given, "float32")
        return x, keras.ops.convert_to_numpy(with_answers(y, answers)), own

    def on_epoch_end(self) -> None:
        """Draws the order of the next epoch."""
        if self._order is None:
            self._data.on_epoch_end()
        else:
            self._order = self._rng.permutation(len(self._order))


def _check_teacher(teacher: Any) -> None:
    if not isinstance(teacher, keras.Model):
        raise ArgumentError(
            f"`teacher` must be a Keras model, a tree's is `tree.model`; got "
            f"{type(teacher).__name__}."
        )
    try:
        end = end_function(teacher)
    except PlanError:  # without a graph
        return
    if len(teacher.outputs) != 1:
        raise ArgumentError(
            f"`teacher` '{teacher.name}' has {len(teacher.outputs)} outputs; give one that returns "
            "logits alone."
        )
    if end in ("softmax", "sigmoid"):
        raise ArgumentError(
            f"`teacher` '{teacher.name}' ends in a {end}, but logits are needed; take it off "
            "with splitnet_tf.logits_model(teacher)."
        )


def _classes(labels: np.ndarray, count: int) -> np.ndarray:
    """The class of each label; ArgumentError where the teacher has others."""
    if labels.ndim == 2 and labels.shape[1] == count > 1:
        return labels.argmax(axis=1)
    found = labels.reshape(-1)
    if len(found) != len(labels) or found.min() < 0 or found.max() >= count:
        raise ArgumentError(
            f"`teacher` answers with {count} classes, which labels of the shape {labels.shape} "
            f"from {labels.min():g} to {labels.max():g} are not of; give a teacher of the same "
            "classes."
        )
    return found
