"""Base of feeds: batches for training and for evaluation.

Training batches are a function of the step alone where the data allow it. Batches are (x, y) or
(x, y, sample weights), as ``keras.Model.fit`` takes them.
"""

from __future__ import annotations

import abc
from collections.abc import Iterable, Iterator
from typing import Any

import keras
import numpy as np
import tensorflow as tf

EVALUATION_BATCH = 200


class Feed(abc.ABC):
    """Batches of one data set."""

    @property
    @abc.abstractmethod
    def steps_per_epoch(self) -> int:
        """Batches in an epoch of training."""

    @abc.abstractmethod
    def training(self, start_step: int = 0) -> Iterable[tuple]:
        """Endless training batches; the first belongs to step ``start_step``."""

    @abc.abstractmethod
    def evaluation(self, batch_size: int = EVALUATION_BATCH) -> Iterable[tuple]:
        """Every example once, in order; data in batches keep theirs."""

    def first(self) -> tuple:
        """The first batch of the evaluation."""
        return next(iter(self.evaluation()))

    def structure(self) -> tuple:
        """A ``tf.TensorSpec`` in the place of each tensor of a batch, None for lengths that vary.

        Data are read only where nothing else tells the shapes.
        """
        batches = self.evaluation()
        if isinstance(batches, tf.data.Dataset):
            return batches.element_spec
        return keras.tree.map_structure(open_spec, self.first())

    def labels(self) -> np.ndarray | None:
        """All labels of the training data where they are in memory, else None."""
        return None

    def settings(self) -> dict[str, Any]:
        """Settings of a run that may go on with the same data only.

        None for data in batches, which cannot be told apart.
        """
        return {}

    def inputs(self, count: int | None = None) -> Iterator[Any]:
        """The inputs of the first ``count`` batches of the evaluation, all by default."""
        for i, batch in enumerate(self.evaluation()):
            if count is not None and i >= count:
                return
            yield batch[0]


def open_spec(x: Any) -> tf.TensorSpec:
    """Shape and type of the part of a batch, whose number of examples is left open."""
    return tf.TensorSpec((None, *x.shape[1:]), x.dtype)
