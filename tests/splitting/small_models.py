"""Parts of the small models that are split in tests."""

import keras
from keras import layers

CLASSES = 6


def images(size=8, channels=3):
    return keras.Input((size, size, channels))


def conv(x, filters=8, size=3, **settings):
    return layers.Conv2D(filters, size, padding="same", activation="relu", **settings)(x)


def finish(inputs, x, classes=CLASSES, **settings):
    """Pools positions away and ends in the layer ``logits``."""
    if len(x.shape) > 2:
        x = {3: layers.GlobalAveragePooling1D, 4: layers.GlobalAveragePooling2D}[len(x.shape)]()(x)
    return keras.Model(inputs, layers.Dense(classes, name="logits", **settings)(x), name="tried")


def between(middle):
    """A model with ``middle`` between the convolutions ``low`` and ``high``."""

    def make():
        inputs = images()
        return finish(inputs, conv(middle(conv(inputs, name="low")), 10, 1, name="high"))

    return make


def on_steps(*middle, name="high"):
    """A model of sequences: layers applied in turn, then a dense layer."""

    def make():
        x = inputs = keras.Input((5, 4))
        for step in middle:
            x = step()(x)
        return finish(inputs, layers.Dense(8, activation="relu", name=name)(x))

    return make


def text_model(*middle):
    def make():
        inputs = keras.Input((7,), dtype="int32")
        x = layers.Embedding(4, 8)(inputs)
        for step in middle:
            x = step()(x)
        return finish(inputs, x)

    return make
