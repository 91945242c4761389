"""Batches from what a user has: arrays, ``tf.data``, ``PyDataset``, or a split of a data set."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from splitnet_tf.data.dataset import Split
from splitnet_tf.data.feed import EVALUATION_BATCH, Feed, open_spec
from splitnet_tf.data.pipeline import (
    evaluation_batches,
    steps_per_epoch,
    training_batches,
    untuned,
)
from splitnet_tf.errors import ArgumentError, DataError
from splitnet_tf.recipe.augmentation import CROP_FLIP
from splitnet_tf.recipe.preprocessing import Preprocessing
from splitnet_tf.storage.digests import digest_arrays


class SplitFeed(Feed):
    """A split of a data set, prepared.

    Args:
      split: the data.
      batch_size: int, examples in a training batch.
      seed: int, seed of order and augmentation.
      augment: ``"crop_flip"``, ``"resized_crop"`` or ``"none"``, augmentation of training images.
        Defaults to the first.
      preprocessing: preparation of the inputs.
    """

    def __init__(
        self,
        split: Split,
        batch_size: int,
        seed: int = 0,
        augment: str = CROP_FLIP,
        *,
        preprocessing: Preprocessing,
    ):
        self._split, self._batch_size, self._seed = split, batch_size, seed
        self._augment, self._preprocessing = augment, preprocessing

    @property
    def steps_per_epoch(self) -> int:
        return steps_per_epoch(self._split, self._batch_size)

    def training(self, start_step: int = 0) -> Iterable[tuple]:
        return training_batches(
            self._split,
            self._batch_size,
            self._seed,
            start_step,
            self._augment,
            preprocessing=self._preprocessing,
        )

    def evaluation(self, batch_size: int = EVALUATION_BATCH) -> Iterable[tuple]:
        return evaluation_batches(self._split, batch_size, preprocessing=self._preprocessing)

    def labels(self) -> np.ndarray | None:
        return self._split.labels

    def settings(self) -> dict[str, Any]:
        own = {"batch_size": self._batch_size, "augment": self._augment}
        return {"data_digest": self._split.digest(), **own}


class ArrayFeed(Feed):
    """Arrays in memory; the order of an epoch is a function of the seed and the epoch.

    Args:
      arrays: (x, y) or (x, y, sample weights); x and y may be nested. All have N examples.
      batch_size: int, examples in a batch; an epoch of training drops what is left over.
      seed: int, seed of the order.
    """

    def __init__(self, arrays: tuple, batch_size: int, seed: int = 0):
        # A list in a tf.data element would become one tensor.
        arrays = keras.tree.lists_to_tuples(keras.tree.map_structure(np.asarray, tuple(arrays)))
        self._arrays = arrays
        lengths = {len(a) if a.ndim else -1 for a in keras.tree.flatten(self._arrays)}
        if len(lengths) != 1 or lengths == {-1}:
            raise DataError(
                f"The arrays of a data set must have one length; got {sorted(lengths)}."
            )
        self._size = lengths.pop()
        if self._size < 1:
            raise DataError("The arrays of a data set must have one example or more.")
        self._batch_size, self._seed = batch_size, seed

    @property
    def steps_per_epoch(self) -> int:
        if not 1 <= self._batch_size <= self._size:
            raise DataError(
                f"`batch_size` must be from 1 to the {self._size} examples; got {self._batch_size}."
            )
        return self._size // self._batch_size

    def first(self) -> tuple:
        return keras.tree.map_structure(lambda a: a[:EVALUATION_BATCH], self._arrays)

    def structure(self) -> tuple:
        return keras.tree.map_structure(open_spec, self._arrays)

    def labels(self) -> np.ndarray | None:
        y = self._arrays[1]
        return y if isinstance(y, np.ndarray) else None

    def settings(self) -> dict[str, Any]:
        arrays = keras.tree.flatten(self._arrays)
        return {"data_digest": digest_arrays(arrays), "batch_size": self._batch_size}

    def training(self, start_step: int = 0) -> tf.data.Dataset:
        orders = functools.lru_cache(2)(
            lambda epoch: np.random.default_rng([self._seed, 31, epoch]).permutation(self._size)
        )
        flat = keras.tree.flatten(self._arrays)

        def chosen(step):
            epoch, i = divmod(int(step), self.steps_per_epoch)
            rows = orders(epoch)[i * self._batch_size : (i + 1) * self._batch_size]
            return [a[rows] for a in flat]

        @tf.autograph.experimental.do_not_convert
        def batch(step):
            found = tf.numpy_function(chosen, [step], [a.dtype for a in flat], stateful=False)
            for tensor, array in zip(found, flat, strict=True):
                tensor.set_shape((self._batch_size, *array.shape[1:]))
            return keras.tree.pack_sequence_as(self._arrays, found)

        return untuned(tf.data.Dataset.counter(start_step).map(batch).prefetch(2))

    def evaluation(self, batch_size: int = EVALUATION_BATCH) -> tf.data.Dataset:
        return untuned(tf.data.Dataset.from_tensor_slices(self._arrays).batch(batch_size))


class PyDatasetFeed(Feed):
    """A ``keras.utils.PyDataset``; its batches come in an order drawn from the seed and the epoch.

    Args:
      data: batch k is ``data[k]``.
      seed: int, seed of the order.
    """

    def __init__(self, data: keras.utils.PyDataset, seed: int = 0):
        if data.num_batches is None or data.num_batches < 1:
            raise DataError("A PyDataset must have one batch or more, and a length.")
        self._data, self._seed = data, seed

    @property
    def steps_per_epoch(self) -> int:
        return self._data.num_batches

    def training(self, start_step: int = 0) -> Iterator[tuple]:
        epoch, first = divmod(start_step, self.steps_per_epoch)
        while True:
            order = np.random.default_rng([self._seed, 31, epoch]).permutation(self.steps_per_epoch)
            for k in order[first:]:
                yield _tensors(self._data[int(k)])
            self._data.on_epoch_end()
            epoch, first = epoch + 1, 0

    def evaluation(self, batch_size: int = EVALUATION_BATCH) -> Iterator[tuple]:
        for k in range(self.steps_per_epoch):
            yield _tensors(self._data[k])


class DatasetFeed(Feed):
    """A ``tf.data.Dataset`` of batches.

    A run that goes on skips the batches it has seen: it repeats itself to the bit only where the
    data set gives the same batches in every process (``shuffle`` with a seed and
    ``reshuffle_each_iteration=False``, say).

    Args:
      data: of batches, with a known, finite number of them.
    """

    def __init__(self, data: tf.data.Dataset):
        self._data = data
        self._length = int(data.cardinality())
        if self._length < 1:
            raise DataError(
                "A tf.data.Dataset must have a known number of batches of 1 or more; this one's "
                f"cardinality is {self._length}: use take(n), or "
                "apply(tf.data.experimental.assert_cardinality(n))."
            )

    @property
    def steps_per_epoch(self) -> int:
        return self._length

    def training(self, start_step: int = 0) -> tf.data.Dataset:
        return untuned(self._data.repeat().skip(start_step).prefetch(2))

    def evaluation(self, batch_size: int = EVALUATION_BATCH) -> tf.data.Dataset:
        return untuned(self._data)


class ChangedFeed(Feed):
    """Another feed whose training batches are changed; all else is its own.

    Args:
      feed: the other one.
    """

    def __init__(self, feed: Feed):
        self._feed = feed

    @property
    def steps_per_epoch(self) -> int:
        return self._feed.steps_per_epoch

    def labels(self) -> np.ndarray | None:
        return self._feed.labels()

    def settings(self) -> dict[str, Any]:
        return self._feed.settings()

    def first(self) -> tuple:
        return self._feed.first()

    def structure(self) -> tuple:
        return self._feed.structure()

    def evaluation(self, batch_size: int = EVALUATION_BATCH) -> Iterable[tuple]:
        return self._feed.evaluation(batch_size)


class WeightedFeed(ChangedFeed):
    """Another feed whose examples are weighted by their class as well.

    Args:
      feed: batches with one y, integer or one-hot labels.
      class_weight: weight of each class, by its number; 1 for those it lacks.
    """

    def __init__(self, feed: Feed, class_weight: Mapping[int, float]):
        super().__init__(feed)
        self._class_weight = dict(class_weight)
        for k, weight in self._class_weight.items():
            if not 0 <= weight < np.inf or k != int(k) or k < 0:
                raise ArgumentError(
                    "`class_weight` must give a weight of 0 or more for classes by number; got "
                    f"{k!r}: {weight!r}."
                )
        self._weights = np.ones(int(max(self._class_weight)) + 1, "float32")
        for k, weight in self._class_weight.items():
            self._weights[int(k)] = weight

    def training(self, start_step: int = 0) -> Iterator[tuple]:
        return map(self._weigh, iter(self._feed.training(start_step)))

    def _weigh(self, batch: tuple) -> tuple:
        x, y, *weights = batch
        labels = tf.convert_to_tensor(y)
        if labels.shape.rank > 1 and labels.shape[-1] > 1:
            labels = tf.argmax(labels, axis=-1)
        labels = tf.cast(tf.reshape(labels, (-1,)), tf.int32)
        table = tf.concat([self._weights, [1.0]], 0)
        own = tf.gather(table, tf.minimum(labels, len(self._weights)))
        for given in weights:
            own = own * tf.cast(given, tf.float32)
        return x, y, own


def feed_of(
    data: Any,
    batch_size: int = 32,
    seed: int = 0,
    class_weight: Mapping[int, float] | None = None,
) -> Feed:
    """A feed from data as ``keras.Model.fit`` takes them.

    Args:
      data: arrays (x, y) or (x, y, sample weights), a ``tf.data.Dataset`` or a
        ``keras.utils.PyDataset`` of such batches, or a ``Feed``, which is returned as it is.
      batch_size: int, examples in a batch of arrays; data in batches keep theirs.
      seed: int, seed of the order of arrays and of a ``PyDataset``.
      class_weight: weight of each class in training, by its number. Defaults to none.

    Raises:
      DataError: data of another kind, without examples, or of unknown length.
      ArgumentError: a class weight that is not one.
    """
    if isinstance(data, Feed):
        feed = data
    elif isinstance(data, tf.data.Dataset):
        feed = DatasetFeed(data)
    elif isinstance(data, keras.utils.PyDataset):
        feed = PyDatasetFeed(data, seed)
    elif isinstance(data, (tuple, list)) and len(data) in (2, 3):
        feed = ArrayFeed(tuple(data), batch_size, seed)
    else:
        raise DataError(
            "Data must be arrays (x, y) or (x, y, sample weights), a tf.data.Dataset or a "
            f"keras.utils.PyDataset of such batches; got {type(data).__name__}."
        )
    return WeightedFeed(feed, class_weight) if class_weight else feed


def _tensors(batch: tuple) -> tuple:
    return keras.tree.map_structure(tf.convert_to_tensor, tuple(batch))
