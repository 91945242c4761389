"""A small classifier of a user's own, and planted data as arrays."""

import keras
import numpy as np
import pytest
from keras import layers

from splitnet_tf.data import planted_groups


@pytest.fixture(scope="session")
def arrays():
    """Train, valid and test as (images float32 in -1..1, integer labels): two groups of four."""
    found = planted_groups((2,), 4, num_train=1280, num_valid=160, num_test=160)

    def split(part):
        return part.images.astype("float32") / 127.5 - 1, part.labels

    return tuple(split(part) for part in (found.train, found.valid, found.test))


@pytest.fixture
def network():
    """Convolutions, batch norm, dropout, eight classes; from the same seed each time."""
    return make_network()


def make_network(heads=("logits",), activation=None):
    keras.utils.set_random_seed(5)
    inputs = keras.Input((16, 16, 3), name="image")
    x = layers.Conv2D(16, 3, strides=2, name="conv1")(inputs)
    x = layers.BatchNormalization(name="bn1")(x)
    x = layers.ReLU(name="relu1")(x)
    x = layers.Conv2D(16, 3, strides=2, name="conv2")(x)
    x = layers.BatchNormalization(name="bn2")(x)
    x = layers.ReLU(name="relu2")(x)
    x = layers.GlobalAveragePooling2D(name="pool")(x)
    x = layers.Dropout(0.1, seed=3, name="drop")(x)
    outputs = {}
    if "logits" in heads:
        outputs["logits"] = layers.Dense(8, name="logits", dtype="float32")(x)
    if "brightness" in heads:
        outputs["brightness"] = layers.Dense(1, name="brightness", dtype="float32")(
            layers.GlobalAveragePooling2D(name="pool_of_image")(inputs)
        )
    outputs = list(outputs.values())
    return keras.Model(inputs, outputs[0] if len(outputs) == 1 else outputs, name="own")


SECTIONS = [("conv2", 2), ("logits", 2)]


def one_hot(labels):
    return np.eye(8, dtype="float32")[labels]
