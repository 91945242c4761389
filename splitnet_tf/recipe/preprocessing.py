"""Augmentation and whitening as Keras layers, so that ``fit`` runs them on the model's device.

``data.pipeline`` has the same two for the training loop, where random numbers are functions of the
step.
"""

from __future__ import annotations

import keras
from keras import ops

PAD = 4  # pixels on each side, before an image is cropped at random


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


@keras.saving.register_keras_serializable(package="splitnet_tf")
class Whiten(keras.layers.Layer):
    """Scales each image and channel to mean 0 and deviation 1, as the 2017 code does.

    Inputs and outputs are float32 (B, H, W, C). Deviations below 1 / sqrt(H W) are raised to it.
    """

    def call(self, images):
        mean, variance = ops.moments(images, axes=[1, 2], keepdims=True)
        pixels = images.shape[1] * images.shape[2]
        return (images - mean) / ops.maximum(ops.sqrt(variance), pixels**-0.5)

    def compute_output_shape(self, input_shape):
        return input_shape


def with_preprocessing(model: keras.Model, seed: int) -> keras.Model:
    """A model from uint8 images (B, H, W, C) to float32 logits around ``model``.

    Args:
      model: takes whitened images; its weights are shared.
      seed: int, seed of the augmentation, which acts in training alone.
    """
    images = keras.Input(model.input_shape[1:], dtype="uint8")
    # In float32 whatever the policy: means and differences do not fit bfloat16.
    x = ops.cast(images, "float32")
    x = CropAndFlip(seed, dtype="float32")(x)
    x = Whiten(dtype="float32")(x)
    x = keras.layers.Activation("linear", dtype="float32")(model(x))
    return keras.Model(images, x)
