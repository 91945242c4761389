"""Augmentation of training images: its names, and a Keras layer so that ``fit`` runs it."""

from __future__ import annotations

import math
from typing import Any

import keras
from keras import ops

from splitnet_tf.errors import ArgumentError

PAD = 4  # pixels on each side, before an image is cropped at random
STRENGTH = 0.3  # of the changes of RandAugment, from 0 to 1
LEAST_AREA = 0.08  # of a window that is scaled, as a share of the image
LEAST_RATIO = 3 / 4  # width by height of such a window; the most is 4/3
CROP_FLIP, RESIZED_CROP, NONE = "crop_flip", "resized_crop", "none"
RAND_AUGMENT = "rand_augment"
AUGMENTATIONS = (CROP_FLIP, RAND_AUGMENT, RESIZED_CROP, NONE)
# Augmentation was a switch once; flags and run folders may still have it like that.
_SWITCH = {"true": CROP_FLIP, "false": NONE, "1": CROP_FLIP, "0": NONE}


def augmentation(value: Any) -> str:
    """The name of an augmentation, from the name or from the switch that it once was.

    Raises:
      ArgumentError: neither.

    >>> augmentation(True), augmentation("none")
    ('crop_flip', 'none')
    """
    name = str(value).lower()
    name = _SWITCH.get(name, name)
    if name not in AUGMENTATIONS:
        raise ArgumentError(f"`augment` must be one of {', '.join(AUGMENTATIONS)}; got {value!r}.")
    return name


class _RandomChange(keras.layers.Layer):
    """Base of changes of images that are drawn at random and keep the shape."""

    def __init__(self, seed=0, **kwargs):
        super().__init__(**kwargs)
        self.seed = seed

    def compute_output_shape(self, input_shape):
        return input_shape

    def get_config(self):
        return {**super().get_config(), "seed": self.seed}


@keras.saving.register_keras_serializable(package="splitnet_tf")
class CropAndFlip(_RandomChange):
    """Pads by reflection, takes a random window of the same size, flips half of the images.

    Inputs and outputs are float32 (B, H, W, C). Without ``training`` the outputs are the inputs.

    Args:
      seed: int, seed of the windows and flips. Defaults to 0.
    """

    def __init__(self, seed=0, **kwargs):
        super().__init__(seed, **kwargs)
        self.generator = keras.random.SeedGenerator(seed)

    def call(self, images, training=False):
        if not training:
            return images
        count, (height, width) = ops.shape(images)[0], images.shape[1:3]
        padded = ops.pad(images, [[0, 0], [PAD, PAD], [PAD, PAD], [0, 0]], "reflect")

        def drawn(most):
            return keras.random.randint((count, 1), 0, most, seed=self.generator)

        rows = ops.arange(height) + drawn(2 * PAD + 1)
        columns = ops.arange(width)
        columns = ops.where(drawn(2) == 1, width - 1 - columns, columns) + drawn(2 * PAD + 1)
        # A product with ones and zeros picks whole rows and columns: fast and exact everywhere.
        rows = ops.one_hot(rows, height + 2 * PAD, dtype=images.dtype)
        columns = ops.one_hot(columns, width + 2 * PAD, dtype=images.dtype)
        cropped = ops.einsum("bhi,biwc->bhwc", rows, padded)
        return ops.einsum("bvw,bhwc->bhvc", columns, cropped)


@keras.saving.register_keras_serializable(package="splitnet_tf")
class ResizedCrop(_RandomChange):
    """Scales a random window of each image to the size of the image, flips half of them.

    A window has 8% to 100% of the area and a ratio of width to height from 3/4 to 4/3, but is never
    higher or wider than the image. Inputs and outputs are float32 (B, H, W, C). Without
    ``training`` the outputs are the inputs.

    Args:
      seed: int, seed of the windows and flips. Defaults to 0.
    """

    def __init__(self, seed=0, **kwargs):
        super().__init__(seed, **kwargs)
        self.generator = keras.random.SeedGenerator(seed)

    def call(self, images, training=False):
        if not training:
            return images
        count, (height, width) = ops.shape(images)[0], images.shape[1:3]

        def drawn():
            return keras.random.uniform((count, 1), seed=self.generator)

        area = height * width * (LEAST_AREA + (1 - LEAST_AREA) * drawn())
        ratio = ops.exp(math.log(LEAST_RATIO) * (1 - 2 * drawn()))
        h = ops.clip(ops.sqrt(area / ratio), 1, height)
        w = ops.clip(ops.sqrt(area * ratio), 1, width)
        y = self._places(drawn() * (height - h), h, height)
        x = self._places(drawn() * (width - w), w, width)
        x = ops.where(drawn() < 0.5, ops.flip(x, axis=1), x)
        rows, columns = self._weights(y, height), self._weights(x, width)
        found = ops.einsum("bhi,biwc->bhwc", rows, images)
        return ops.einsum("bvw,bhwc->bhvc", columns, found)

    def _places(self, start, length, count):
        """Places of the pixels of a window along an axis of the image, (B, count)."""
        return start + (length - 1) * ops.arange(count, dtype="float32") / max(count - 1, 1)

    def _weights(self, places, count):
        """Bilinear weights of the image's pixels, (B, places, count)."""
        apart = ops.abs(ops.expand_dims(places, -1) - ops.arange(count, dtype="float32"))
        return ops.maximum(0.0, 1 - apart)


@keras.saving.register_keras_serializable(package="splitnet_tf")
class CropAndRandAugment(_RandomChange):
    """Crops and flips as ``CropAndFlip``, then two changes of ``keras.layers.RandAugment``.

    Inputs and outputs are float32 (B, H, W, 3), pixels from 0 to 255. Without ``training`` the
    outputs are the inputs.

    Args:
      seed: int, seed of all draws. Defaults to 0.
    """

    def __init__(self, seed=0, **kwargs):
        super().__init__(seed, **kwargs)
        self.crop = CropAndFlip(seed)
        self.change = keras.layers.RandAugment((0, 255), num_ops=2, factor=STRENGTH, seed=seed)

    def build(self, input_shape):
        self.crop.build(input_shape)
        self.change.build(input_shape)
        self.built = True

    def call(self, images, training=False):
        if not training:
            return images
        return ops.clip(self.change(self.crop(images, training=True), training=True), 0.0, 255.0)


LAYERS = {
    CROP_FLIP: CropAndFlip,
    RAND_AUGMENT: CropAndRandAugment,
    RESIZED_CROP: ResizedCrop,
}
