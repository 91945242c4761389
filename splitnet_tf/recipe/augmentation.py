"""Augmentation of training images: its names, and a Keras layer so that ``fit`` runs it."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from splitnet_tf.errors import ArgumentError

PAD = 4  # pixels on each side, before an image is cropped at random
CROP_FLIP, NONE = "crop_flip", "none"
AUGMENTATIONS = (CROP_FLIP, NONE)
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


@keras.saving.register_keras_serializable(package="splitnet_tf")
class CropAndFlip(keras.layers.Layer):
    """Pads by reflection, takes a random window of the same size, flips half of the images.

    Inputs and outputs are float32 (B, H, W, C). Without ``training`` the outputs are the inputs.

    Args:
      seed: int, seed of the windows and flips. Defaults to 0.
    """

    def __init__(self, seed=0, **kwargs):
        super().__init__(**kwargs)
        self.seed = seed
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

    def compute_output_shape(self, input_shape):
        return input_shape

    def get_config(self):
        return {**super().get_config(), "seed": self.seed}
