"""Assignment variables: soft membership of the channels of a space in its groups."""

from __future__ import annotations

import math

import keras
import numpy as np
from keras import ops

from splitnet_tf.errors import ArgumentError, GroupingError

# Start of an assignment layer's name, before that of its space.
PREFIX = "space_"


@keras.saving.register_keras_serializable(package="splitnet_tf")
class Assignment(keras.layers.Layer):
    """Owns the assignment variable of one channel space.

    The variable is called alpha by the layers that read the space and beta by those that make
    it. It is one variable, so this layer is shared by them all (a raw variable cannot be).

    Args:
      num_groups: int, G, rows of the variable.
      size: int, members of the space: channels, or units of channels that stay together.
      stddev: float, standard deviation of the random start around the uniform assignment, which is
        a saddle. Defaults to 0.01.
      seed: int, seed of the random start. Defaults to None, a new one each time.
    """

    def __init__(self, num_groups, size, stddev=0.01, seed=None, **kwargs):
        kwargs["dtype"] = "float32"
        super().__init__(**kwargs)
        if not 0 <= stddev < math.inf:
            raise ArgumentError(f"`stddev` must be a number of 0 or more; got {stddev!r}.")
        self.num_groups = num_groups
        self.size = size
        self.stddev = stddev
        self.seed = seed

    def build(self, input_shape=None):
        self.logits = self.add_weight(
            name="logits",
            shape=(self.num_groups, self.size),
            initializer=keras.initializers.RandomNormal(stddev=self.stddev, seed=self.seed),
            autocast=False,  # layers that compute in bfloat16 read it too
        )
        self.built = True

    @property
    def space(self) -> str:
        """Name of the channel space, as the names of layers allow it."""
        return self.name.removeprefix(PREFIX)

    def p(self):
        """Computes memberships (num_groups, size): softmax over the groups, columns sum to 1."""
        return ops.softmax(self.logits, axis=0)

    def hard(self):
        """Computes p as the cut reads it, (num_groups, size): 1 for the largest, else 0."""
        return ops.one_hot(ops.argmax(self.logits, axis=0), self.num_groups, axis=0)

    def checked(self, labels) -> np.ndarray:
        """Returns labels as an array (size,) of ints from 0 to ``num_groups`` - 1.

        Raises:
          GroupingError: labels of another length or range.
        """
        labels = np.asarray(labels)
        whole = labels.shape == (self.size,) and np.issubdtype(labels.dtype, np.integer)
        if not whole or labels.min() < 0 or labels.max() >= self.num_groups:
            raise GroupingError(
                f"Space '{self.name}' takes {self.size} labels from 0 to {self.num_groups - 1}; "
                f"got shape {labels.shape}, values {np.unique(labels)[:8].tolist()}."
            )
        return labels

    def assign(self, labels, largest_p=0.9):
        """Starts from given groups: p of each channel's own group is ``largest_p``.

        Args:
          labels: int (size,), from 0 to ``num_groups`` - 1.
          largest_p: float, above 1 / num_groups and below 1. Defaults to 0.9.

        Raises:
          GroupingError: labels or a ``largest_p`` out of their range.
        """
        labels = self.checked(labels)
        if not 1.0 / self.num_groups < largest_p < 1.0:
            raise GroupingError(
                f"`largest_p` must be above 1/{self.num_groups} and below 1 for the "
                f"{self.num_groups} groups of '{self.name}'; got {largest_p!r}."
            )
        height = np.log(largest_p * (self.num_groups - 1) / (1.0 - largest_p))
        logits = np.zeros((self.num_groups, self.size), "float32")
        logits[labels, np.arange(self.size)] = height
        self.logits.assign(logits)

    def get_config(self):
        return {
            **super().get_config(),
            "num_groups": self.num_groups,
            "size": self.size,
            "stddev": self.stddev,
            "seed": self.seed,
        }
