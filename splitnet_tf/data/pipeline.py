"""Batches for training and evaluation, as functions of a seed and the step alone.

There is no iterator state to save: the order of an epoch is a function of (seed, epoch), the
augmentation of a batch one of (seed, step). A run that starts at step k sees what an
uninterrupted one sees there.
"""

from __future__ import annotations

import functools

import numpy as np
import tensorflow as tf

from splitnet_tf.data.dataset import Split
from splitnet_tf.data.order import calibration_order, epoch_order
from splitnet_tf.errors import DataError
from splitnet_tf.recipe.preprocessing import PAD


def whiten(images: tf.Tensor) -> tf.Tensor:
    """Gives each image and channel mean 0 and deviation 1, as the 2017 code does.

    Args:
      images: numbers of any type (B, H, W, C).

    Returns:
      float32 (B, H, W, C); deviations below 1 / sqrt(H W) are raised to it.
    """
    images = tf.cast(images, tf.float32)
    mean, variance = tf.nn.moments(images, axes=[1, 2], keepdims=True)
    pixels = tf.cast(tf.shape(images)[1] * tf.shape(images)[2], tf.float32)
    return (images - mean) / tf.maximum(tf.sqrt(variance), tf.math.rsqrt(pixels))


def crop_and_flip(images: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
    """Pads by reflection, takes a random window of the same size, flips half of them.

    Args:
      images: tensor of any type (B, H, W, C).
      seed: int tensor (2,).

    Returns:
      Tensor of the same type and shape.
    """
    shape = tf.shape(images)
    count, height, width = shape[0], shape[1], shape[2]
    padded = tf.pad(images, [[0, 0], [PAD, PAD], [PAD, PAD], [0, 0]], "REFLECT")
    draws = tf.random.stateless_uniform((3, count), seed, 0, 2**30, tf.int32)
    top, left, flip = draws[0] % (2 * PAD + 1), draws[1] % (2 * PAD + 1), draws[2] % 2
    columns = tf.range(width)[None, :]
    columns = tf.where(flip[:, None] == 1, width - 1 - columns, columns) + left[:, None]
    rows = tf.range(height)[None, :] + top[:, None]
    # Row windows first, then columns: two gathers of whole rows, no gather of single pixels.
    cropped = tf.gather(padded, rows, axis=1, batch_dims=1)
    return tf.gather(cropped, columns, axis=2, batch_dims=1)


def check_augmentation(images: np.ndarray) -> None:
    """Raises DataError where images (N, H, W, C) are too small to be cropped at random."""
    height, width = images.shape[1:3]
    if min(height, width) <= PAD:
        raise DataError(
            f"Images of {height}x{width} pixels are too small to be cropped at random: their "
            f"sides must be longer than the {PAD} pixels of padding; leave it out with "
            "`augment=False`."
        )


def untuned(data: tf.data.Dataset) -> tf.data.Dataset:
    """Takes a data set out of the watch of tf.data's autotuning.

    Its thread sleeps for as long as it has lived, and whoever lets go of an iterator waits for it:
    after an epoch of 20 seconds a process stood still for up to 20 more. Our parallelism is fixed.
    """
    options = tf.data.Options()
    options.autotune.enabled = False
    return data.with_options(options)


def training_batches(
    split: Split, batch_size: int, seed: int, start_step: int = 0, augment: bool = True
) -> tf.data.Dataset:
    """Makes an endless data set whose element k is the batch of step ``start_step + k``.

    Args:
      split: the training images.
      batch_size: int, images in a batch; an epoch drops the images that fill no batch.
      seed: int, seed of order and augmentation.
      start_step: int, step of the first element. Defaults to 0.
      augment: bool, crops and flips at random. Defaults to True.

    Returns:
      Elements (float32 (B, H, W, C) whitened, int32 (B,)).

    Raises:
      DataError: the batch is larger than the data, or the images are too small to augment.
    """
    steps = steps_per_epoch(split, batch_size)
    if augment:
        check_augmentation(split.images)
    orders = functools.lru_cache(2)(lambda epoch: epoch_order(seed, epoch, len(split)))

    def images_of(step):
        epoch, i = divmod(int(step), steps)
        chosen = orders(epoch)[i * batch_size : (i + 1) * batch_size]
        return split.images[chosen], split.labels[chosen].astype(np.int32)

    @tf.autograph.experimental.do_not_convert  # the conversion takes longer than a small epoch
    def prepare(step):
        images, labels = tf.numpy_function(images_of, [step], (tf.uint8, tf.int32), stateful=False)
        images.set_shape((batch_size, *split.images.shape[1:]))
        labels.set_shape((batch_size,))
        if augment:
            images = crop_and_flip(images, tf.stack([tf.constant(seed, tf.int64), step]))
        return whiten(images), labels

    # Not from_generator: that sets glibc's M_TRIM_THRESHOLD for the process, and every tensor
    # then costs page faults; a CPU's training step took twice as long.
    data = tf.data.Dataset.counter(start_step)
    return untuned(data.map(prepare, num_parallel_calls=2, deterministic=True).prefetch(4))


def steps_per_epoch(split: Split, batch_size: int) -> int:
    """Counts the whole batches in an epoch.

    Raises:
      DataError: there is none.
    """
    if not 1 <= batch_size <= len(split):
        raise DataError(
            f"batch_size must be from 1 to the {len(split)} training images; got {batch_size}."
        )
    return len(split) // batch_size


def evaluation_batches(split: Split, batch_size: int) -> tf.data.Dataset:
    """Makes batches of all images once, in order, whitened; the last may be smaller.

    Args:
      split: the images.
      batch_size: int, images in a batch.

    Returns:
      Elements (float32 (B, H, W, C), int32 (B,)).

    Raises:
      DataError: the batch has no image.
    """
    if batch_size < 1:
        raise DataError(f"batch_size must be 1 or more; got {batch_size}.")
    data = tf.data.Dataset.from_tensor_slices((split.images, split.labels))
    data = data.batch(batch_size)
    return untuned(data.map(_whiten_images, num_parallel_calls=2).prefetch(2))


@tf.autograph.experimental.do_not_convert
def _whiten_images(images, labels):
    return whiten(images), labels


def calibration_batches(
    split: Split, batch_size: int, count: int, seed: int = 0
) -> tf.data.Dataset:
    """Makes ``count`` whitened batches of training images in a seeded order, not augmented."""
    chosen = calibration_order(seed, len(split))[: batch_size * count]
    data = evaluation_batches(Split(split.images[chosen], split.labels[chosen]), batch_size)
    return data.map(tf.autograph.experimental.do_not_convert(lambda x, y: x))
