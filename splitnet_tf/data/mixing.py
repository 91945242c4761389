"""Mixed training examples: mixup, and cutmix, as functions of a seed and the step alone."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from splitnet_tf.data.feeds import ChangedFeed, Feed
from splitnet_tf.errors import ArgumentError
from splitnet_tf.recipe.phase import Phase

CONSTANT = 43  # keeps these draws apart from those of orders


class MixedFeed(ChangedFeed):
    """Another feed whose training examples are mixed in pairs, with labels (B, classes).

    Mixup (Zhang et al., ICLR 2018) adds s x + (1 - s) x' and the labels likewise; cutmix (Yun et
    al., ICCV 2019) puts a window of x' into x, and s is the share of x that is left. s is drawn
    from Beta(a, a), anew for each batch. With both, each batch has one of them at random.

    Args:
      feed: batches with one y, integer or one-hot labels.
      classes: int, number of classes.
      mixup, cutmix: float of 0 or more, a of each; 0 for none.
      seed: int, seed of the pairs, shares and windows.

    Raises:
      ArgumentError: labels for several outputs, or inputs without windows for cutmix.
    """

    def __init__(self, feed: Feed, classes: int, mixup: float, cutmix: float, seed: int = 0):
        super().__init__(feed)
        self._classes, self._seed = classes, seed
        self._alphas = [a for a in (mixup, cutmix) if a]
        self._kinds = [name for name, a in (("mixup", mixup), ("cutmix", cutmix)) if a]

    def training(self, start_step: int = 0) -> Iterator[tuple]:
        for step, batch in enumerate(self._feed.training(start_step), start_step):
            yield self._mix(batch, np.random.default_rng([self._seed, CONSTANT, step]))

    def _mix(self, batch: tuple, rng: np.random.Generator) -> tuple:
        x, y, *weights = batch
        if keras.tree.is_nested(y) or keras.tree.is_nested(x):
            raise ArgumentError("`mixup` and `cutmix` need one input and one output.")
        x, labels = tf.convert_to_tensor(x), _one_hot(y, self._classes)
        which = int(rng.integers(len(self._kinds)))
        share = float(rng.beta(self._alphas[which], self._alphas[which]))
        order = rng.permutation(len(labels))
        if self._kinds[which] == "cutmix":
            x, share = _window_put_in(x, order, share, rng)
        else:
            x = _between(x, order, share)
        weights = [_between(tf.cast(w, tf.float32), order, share) for w in weights]
        return x, _between(labels, order, share), *weights


def mixed(feed: Feed, phase: Phase, network: keras.Model, seed: int) -> Feed:
    """A feed with the mixing of a phase; the feed itself where the phase has none.

    Raises:
      ArgumentError: a network of several outputs.
    """
    if not phase.mixup and not phase.cutmix:
        return feed
    if len(network.outputs) != 1 or len(network.outputs[0].shape) != 2:
        raise ArgumentError("`mixup` and `cutmix` need a network with one output of logits.")
    return MixedFeed(feed, network.outputs[0].shape[-1], phase.mixup, phase.cutmix, seed)


def _one_hot(y: Any, classes: int) -> tf.Tensor:
    """Labels as float32 (B, classes)."""
    y = tf.convert_to_tensor(y)
    if y.shape.rank > 1 and y.shape[-1] > 1:
        return tf.cast(y, tf.float32)
    return tf.one_hot(tf.cast(tf.reshape(y, (-1,)), tf.int32), classes)


def _between(values: tf.Tensor, order: np.ndarray, share: float) -> tf.Tensor:
    """Share of each value and the rest of its partner's, in the type of float values."""
    kind = values.dtype if values.dtype.is_floating else tf.float32
    values = tf.cast(values, kind)
    share = tf.cast(share, kind)
    return share * values + (1 - share) * tf.gather(values, order)


def _window_put_in(
    x: tf.Tensor, order: np.ndarray, share: float, rng: np.random.Generator
) -> tuple[tf.Tensor, float]:
    """Inputs with one window from their partners, and the share of themselves that is left."""
    if x.shape.rank != 4:
        raise ArgumentError(f"`cutmix` needs images; inputs have shape {tuple(x.shape[1:])}.")
    inside = np.ones((1, 1, 1, 1), "float32")
    for axis in (1, 2):
        size = int(x.shape[axis])
        half = size * np.sqrt(1 - share) / 2
        middle = rng.integers(size)
        place = np.arange(size)
        chosen = (place >= round(middle - half)) & (place < round(middle + half))
        inside = inside * np.reshape(chosen, [size if a == axis else 1 for a in range(4)])
    return tf.where(inside > 0, tf.gather(x, order), x), float(1 - inside.mean())
