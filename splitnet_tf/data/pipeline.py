"""Batches for training and evaluation, as functions of a seed and the step alone.

There is no iterator state to save: the order of an epoch is a function of (seed, epoch), the
augmentation of a batch one of (seed, step). A run that starts at step k sees what an
uninterrupted one sees there.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable

import keras
import numpy as np
import tensorflow as tf

from splitnet_tf.data.dataset import Split
from splitnet_tf.data.decoding import resized_crops
from splitnet_tf.data.order import calibration_order, epoch_order
from splitnet_tf.data.pictures import Pictures
from splitnet_tf.data.stateless import call_with_seed
from splitnet_tf.data.streaming import PictureBatches
from splitnet_tf.errors import DataError
from splitnet_tf.recipe.augmentation import (
    CROP_FLIP,
    NONE,
    PAD,
    RAND_AUGMENT,
    RESIZED_CROP,
    CropAndRandAugment,
)
from splitnet_tf.recipe.preprocessing import Preprocessing


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


def check_augmentation(images: np.ndarray | Pictures, augment: str = CROP_FLIP) -> None:
    """Raises DataError where data cannot be cropped at random: no images, or too small ones."""
    if images.ndim != 4:
        raise DataError(f"Data of shape {images.shape[1:]} are no images; give `augment=none`.")
    if augment == RAND_AUGMENT and (images.dtype != np.uint8 or images.shape[-1] != 3):
        raise DataError(
            f"Images of type {images.dtype} with {images.shape[-1]} channels cannot be changed by "
            "`augment=rand_augment`, which needs bytes with 3; give `augment=crop_flip`."
        )
    if augment == RESIZED_CROP:
        return
    height, width = images.shape[1:3]
    if min(height, width) <= PAD:
        raise DataError(
            f"Images of {height}x{width} pixels are too small to be cropped at random: their "
            f"sides must be longer than the {PAD} pixels of padding; leave it out with "
            "`augment=none`."
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
    split: Split,
    batch_size: int,
    seed: int,
    start_step: int = 0,
    augment: str = CROP_FLIP,
    *,
    preprocessing: Preprocessing,
) -> Iterable[tuple]:
    """Makes an endless data set whose element k is the batch of step ``start_step + k``.

    Args:
      split: the training data.
      batch_size: int, examples in a batch; an epoch drops the examples that fill no batch.
      seed: int, seed of order and augmentation.
      start_step: int, step of the first element. Defaults to 0.
      augment: ``"crop_flip"``, images cropped and flipped at random; ``"rand_augment"``, changed by
        Keras' RandAugment after that; ``"resized_crop"``, a random window scaled to the size of the
        images; or ``"none"``. Defaults to the first.
      preprocessing: preparation of the inputs, after the augmentation.

    Returns:
      Elements (inputs (B, ...), labels (B,) or (B, classes), or by output).

    Raises:
      DataError: the batch is larger than the data, or the images are too small to augment.
    """
    steps = steps_per_epoch(split, batch_size)
    if augment != NONE:
        check_augmentation(split.images, augment)
    if augment == RAND_AUGMENT:
        changes = CropAndRandAugment()
        changes.build((None, *split.images.shape[1:]))
    orders = functools.lru_cache(2)(lambda epoch: epoch_order(seed, epoch, len(split)))
    first = split.batch_labels(slice(0, 1))
    kinds = keras.tree.flatten(first)

    def chosen_of(step):
        epoch, i = divmod(int(step), steps)
        return orders(epoch)[i * batch_size : (i + 1) * batch_size]

    def augmented(images, step, augment):
        if augment == NONE:
            return images
        seeds = tf.stack([tf.constant(seed, tf.int64), step])
        if augment == RAND_AUGMENT:
            found = call_with_seed(changes, tf.cast(images, tf.float32), seeds)
            return tf.cast(tf.round(found), images.dtype)
        change = resized_crops if augment == RESIZED_CROP else crop_and_flip
        return change(images, seeds)

    if isinstance(split.images, Pictures):
        # A window of the whole picture is drawn where it is decoded.
        windows = augment == RESIZED_CROP

        def finish(images, labels, step):
            images = augmented(images, step, NONE if windows else augment)
            return preprocessing(images), tf.ensure_shape(labels, (batch_size,))

        return PictureBatches(
            *(split.images, split.batch_labels, chosen_of, start_step, None),
            *(seed if windows else None, finish),
        )

    def examples_of(step):
        chosen = chosen_of(step)
        return [split.images[chosen], *keras.tree.flatten(split.batch_labels(chosen))]

    @tf.autograph.experimental.do_not_convert  # the conversion takes longer than a small epoch
    def prepare(step):
        types = [split.images.dtype, *(x.dtype for x in kinds)]
        images, *labels = tf.numpy_function(examples_of, [step], types, stateful=False)
        images.set_shape((batch_size, *split.images.shape[1:]))
        for x, kind in zip(labels, kinds, strict=True):
            x.set_shape((batch_size, *kind.shape[1:]))
        labels = keras.tree.pack_sequence_as(first, labels)
        return preprocessing(augmented(images, step, augment)), labels

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


def evaluation_batches(
    split: Split, batch_size: int, *, preprocessing: Preprocessing
) -> Iterable[tuple]:
    """Makes batches of all examples once, in order; the last may be smaller.

    Args:
      split: the data.
      batch_size: int, examples in a batch.
      preprocessing: preparation of the inputs.

    Returns:
      Elements (inputs (B, ...), labels (B,) or (B, classes), or by output).

    Raises:
      DataError: the batch has no example.
    """
    if batch_size < 1:
        raise DataError(f"batch_size must be 1 or more; got {batch_size}.")
    if isinstance(split.images, Pictures):
        everything, count = np.arange(len(split)), -(-len(split) // batch_size)

        def chosen_of(number):
            return everything[number * batch_size : (number + 1) * batch_size]

        return PictureBatches(
            *(split.images, split.batch_labels, chosen_of, 0, count, None),
            lambda images, labels, number: (preprocessing(images), labels),
        )
    data = tf.data.Dataset.from_tensor_slices((split.images, split.batch_labels(slice(None))))

    @tf.autograph.experimental.do_not_convert
    def prepare(images, labels):
        return preprocessing(images), labels

    return untuned(data.batch(batch_size).map(prepare, num_parallel_calls=2).prefetch(2))


def calibration_batches(
    split: Split, batch_size: int, count: int, seed: int = 0, *, preprocessing: Preprocessing
) -> Iterable:
    """Makes ``count`` batches of prepared training inputs in a seeded order, not augmented."""
    chosen = calibration_order(seed, len(split))[: batch_size * count]
    data = evaluation_batches(split.rows(chosen), batch_size, preprocessing=preprocessing)
    if isinstance(split.images, Pictures):
        return (x for x, _ in data)
    return data.map(tf.autograph.experimental.do_not_convert(lambda x, y: x))
