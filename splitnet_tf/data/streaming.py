"""Batches of pictures on disk, decoded in parallel, as functions of a seed and the step alone."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Iterator

import numpy as np
import tensorflow as tf

from splitnet_tf.data.decoding import middle, random_window, window_draws
from splitnet_tf.data.pictures import Pictures
from splitnet_tf.errors import DataError

AHEAD = 2  # batches that are ready before they are asked for


class PictureBatches:
    """Batches (images uint8 (B, size, size, channels), labels); may be iterated again.

    Args:
      pictures: the pictures.
      labels_of: function from numbers of pictures to their labels as a loss takes them.
      batch_of: function from the number of a batch to the numbers of its pictures.
      first, end: ints, number of the first batch, and of the one after the last; None for no end.
      seed: int for random windows, a function of the seed and the number of the batch. Defaults
        to None: the middle of each picture.
      then: function of (images, labels, number of the batch) for whole batches.

    Raises:
      DataError: while iterating, a picture cannot be read or decoded; the sentence names it.
    """

    def __init__(
        self,
        pictures: Pictures,
        labels_of: Callable[[np.ndarray], np.ndarray],
        batch_of: Callable[[int], np.ndarray],
        first: int,
        end: int | None,
        seed: int | None,
        then: Callable,
    ):
        self._pictures, self._batch_of, self._first = pictures, batch_of, first
        labels = labels_of(np.arange(0, 1))
        size, channels = pictures.size, pictures.channels

        def encoded_of(number):
            chosen = batch_of(int(number))
            return np.array(pictures.encoded(chosen), object), labels_of(chosen)

        @tf.autograph.experimental.do_not_convert
        def load(number):
            types = (tf.string, labels.dtype)
            encoded, found = tf.numpy_function(encoded_of, [number], types, stateful=False)
            encoded.set_shape((None,))
            found.set_shape((None, *labels.shape[1:]))
            count = tf.size(encoded)
            # The batches of an epoch need not have one size: each picture says its batch's.
            found = (encoded, found, tf.fill((count,), number))
            if seed is None:
                return found
            return *found, window_draws(count, tf.stack([tf.constant(seed, tf.int64), number]))

        @tf.autograph.experimental.do_not_convert
        def decode(encoded, label, number, draws=None):
            if draws is None:
                return middle(encoded, size, channels), label, number
            return random_window(encoded, draws, size, channels), label, number

        @tf.autograph.experimental.do_not_convert
        def finish(images, labels, numbers):
            return then(images, labels, numbers[0])

        data = tf.data.Dataset.counter(first)
        if end is not None:
            data = tf.data.Dataset.range(first, end)
        batch = len(batch_of(first))
        data = data.map(load, num_parallel_calls=2, deterministic=True).prefetch(1).unbatch()
        data = data.map(decode, num_parallel_calls=cores(), deterministic=True)
        data = data.batch(batch, drop_remainder=end is None)
        options = tf.data.Options()
        options.autotune.enabled = False  # see ``untuned``
        self.data = data.map(finish).prefetch(AHEAD).with_options(options)

    def __iter__(self) -> Iterator[tuple]:
        batches, number = iter(self.data), self._first
        while True:
            try:
                batch = next(batches, None)
            except (tf.errors.OpError, OSError):
                for ahead in range(2):  # the pictures of the next batch may be read already
                    self._pictures.check(self._batch_of(number + ahead))
                raise DataError("The pictures could not be decoded; run again.") from None
            if batch is None:
                return
            yield batch
            number += 1


@functools.cache
def cores() -> int:
    """Processor cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
