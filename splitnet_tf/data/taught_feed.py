"""Batches with the answers of a teacher."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import tensorflow as tf

from splitnet_tf.data.feeds import ChangedFeed, Feed
from splitnet_tf.recipe.distillation import with_answers


class TaughtFeed(ChangedFeed):
    """Another feed whose training labels have a teacher's answers beside them.

    Args:
      feed: batches with one y, integer or one-hot labels.
      teacher: x -> logits (B, classes).
    """

    def __init__(self, feed: Feed, teacher: Callable):
        super().__init__(feed)
        self._teacher = teacher

    def training(self, start_step: int = 0) -> Iterator[tuple]:
        for x, y, *weights in self._feed.training(start_step):
            yield x, with_answers(tf.convert_to_tensor(y), self._teacher(x)), *weights
