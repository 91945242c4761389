"""Decoding of pictures to images of one size: the middle, or a window drawn at random.

A JPEG is decoded only inside the window, at a half, a quarter or an eighth of its size where the
window is that much larger than the image, and then scaled bilinearly.
"""

from __future__ import annotations

import math

import tensorflow as tf

from splitnet_tf.recipe.augmentation import LEAST_AREA, LEAST_RATIO

ATTEMPTS = 10
DRAWS = 4 * ATTEMPTS + 1  # numbers from 0 to 1 that a random window and a flip take
MIDDLE = 0.875  # share of the shorter side that the middle of a large picture has


def middle(encoded: tf.Tensor, size: int, channels: int) -> tf.Tensor:
    """Decodes the middle of a picture.

    The window is a square: 7/8 of the shorter side, or the whole shorter side where it is
    ``size`` or less, never less than ``size`` pixels where there are as many.

    Args:
      encoded: scalar string tensor, a JPEG, PNG, GIF, BMP or WebP.
      size: int, height and width of the result.
      channels: int, 1 or 3; an alpha channel is dropped.

    Returns:
      uint8 (size, size, channels).
    """

    def window(height, width):
        short = tf.minimum(height, width)
        scaled = tf.clip_by_value(short, size, max(size, round(size / MIDDLE)))
        side = tf.maximum(1, tf.cast(tf.round(short * size / scaled), tf.int32))
        return tf.stack([(height - side) // 2, (width - side) // 2, side, side])

    return _decoded(encoded, window, size, channels)


def random_window(encoded: tf.Tensor, draws: tf.Tensor, size: int, channels: int) -> tf.Tensor:
    """Decodes a random window of a picture, flipped in half of the cases.

    Args:
      encoded, size, channels: see ``middle``.
      draws: float (DRAWS,), numbers from 0 to below 1.

    Returns:
      uint8 (size, size, channels).
    """
    image = _decoded(encoded, lambda h, w: crop_window(h, w, draws), size, channels)
    # Not a slice with a step of -1, which takes as long as decoding.
    return tf.cond(draws[-1] < 0.5, lambda: tf.reverse(image, [1]), lambda: image)


def crop_window(height: tf.Tensor, width: tf.Tensor, draws: tf.Tensor) -> tf.Tensor:
    """A window of 8% to 100% of the area and a ratio of 3/4 to 4/3, as ResNets are trained with.

    Ten are drawn, and the first that fits is taken; where none fits, the largest in the middle.

    Args:
      height, width: int tensors, size of the picture.
      draws: float (..., DRAWS), numbers from 0 to below 1.

    Returns:
      int32 (..., 4): top, left, height, width.
    """
    tall, wide = tf.cast(height, tf.float32), tf.cast(width, tf.float32)
    shape = tf.concat([tf.shape(draws)[:-1], [ATTEMPTS, 4]], 0)
    area, ratio, top, left = tf.unstack(tf.reshape(draws[..., :-1], shape), axis=-1)
    area = tall * wide * (LEAST_AREA + (1 - LEAST_AREA) * area)
    ratio = tf.exp(math.log(LEAST_RATIO) * (1 - 2 * ratio))
    w, h = tf.round(tf.sqrt(area * ratio)), tf.round(tf.sqrt(area / ratio))
    fits = (w >= 1) & (h >= 1) & (w <= wide) & (h <= tall)
    found = tf.stack([tf.floor(top * (tall - h + 1)), tf.floor(left * (wide - w + 1)), h, w], -1)
    first = tf.argmax(tf.cast(fits, tf.int32), axis=-1)
    found = tf.gather(found, first, axis=-2, batch_dims=draws.shape.rank - 1)
    h = tf.maximum(1.0, tf.minimum(tall, tf.round(wide / LEAST_RATIO)))
    w = tf.maximum(1.0, tf.minimum(wide, tf.round(tall / LEAST_RATIO)))
    whole = tf.stack([tf.floor((tall - h) / 2), tf.floor((wide - w) / 2), h, w])
    found = tf.where(tf.reduce_any(fits, axis=-1, keepdims=True), found, whole)
    return tf.cast(found, tf.int32)


def resized_crops(images: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
    """Scales a random window of each image of a batch to its size, flips half of them.

    Args:
      images: uint8 or float (B, H, W, C).
      seed: int tensor (2,).

    Returns:
      Tensor of the same type and shape.
    """
    count, height, width = images.shape[:3]
    draws = window_draws(count, seed)
    window = tf.cast(crop_window(height, width, draws), tf.float32)
    top, left, h, w = tf.unstack(window, axis=-1)
    last = (max(height - 1, 1), max(width - 1, 1))
    y, x = (top / last[0], (top + h - 1) / last[0]), (left / last[1], (left + w - 1) / last[1])
    flip = draws[:, -1] < 0.5
    x = (tf.where(flip, x[1], x[0]), tf.where(flip, x[0], x[1]))
    boxes = tf.stack([y[0], x[0], y[1], x[1]], axis=-1)
    found = tf.image.crop_and_resize(images, boxes, tf.range(count), (height, width))
    return as_type(found, images.dtype)


def window_draws(count: int, seed: tf.Tensor) -> tf.Tensor:
    """Numbers for ``count`` windows, float32 (count, DRAWS), a function of the seed (2,)."""
    return tf.random.stateless_uniform((count, DRAWS), seed)


def as_type(images: tf.Tensor, dtype: tf.DType) -> tf.Tensor:
    """Images as floats or, rounded, as bytes."""
    if dtype.is_floating:
        return tf.cast(images, dtype)
    return tf.cast(images + 0.5, dtype)  # no more than the largest byte, as all are means


def as_it_is(encoded: tf.Tensor, channels: int) -> tf.Tensor:
    """Decodes a whole picture, uint8 (H, W, C); 0 channels for those it has."""
    return tf.io.decode_image(encoded, channels=channels, expand_animations=False)


def _decoded(encoded: tf.Tensor, window, size: int, channels: int) -> tf.Tensor:
    """Decodes the part of a picture that ``window`` of its height and width says."""

    def jpeg():
        shape = tf.io.extract_jpeg_shape(encoded)
        top, left, h, w = tf.unstack(window(shape[0], shape[1]))
        times = tf.minimum(h, w) // size

        def at(ratio):
            box = tf.stack([top, left, tf.maximum(h, ratio), tf.maximum(w, ratio)]) // ratio
            # Accurate, as it takes no longer.
            image = tf.image.decode_and_crop_jpeg(
                encoded, box, channels=channels, ratio=ratio, dct_method="INTEGER_ACCURATE"
            )
            return tf.image.resize(image, (size, size))

        def smaller():
            which = tf.cast(times >= 4, tf.int32) + tf.cast(times >= 8, tf.int32)
            return tf.switch_case(which, [lambda ratio=ratio: at(ratio) for ratio in (2, 4, 8)])

        return tf.cond(times >= 2, smaller, lambda: at(1))

    def other():
        image = as_it_is(encoded, channels)
        shape = tf.shape(image)
        top, left, h, w = tf.unstack(window(shape[0], shape[1]))
        image = image[top : top + h, left : left + w]
        return tf.image.resize(image, (size, size), antialias=True)

    found = as_type(tf.cond(tf.io.is_jpeg(encoded), jpeg, other), tf.uint8)
    return tf.ensure_shape(found, (size, size, channels))
