"""Models as Keras' tutorials make them, small and trained by Keras on planted data."""

import keras
import numpy as np
from keras import layers

from splitnet_tf.data import Dataset, Split

COUNTS = {"train": 192, "valid": 96, "test": 96}
WORDS, LENGTH = 40, 12


def dataset(make, names):
    """A data set whose splits are made by a function of a generator and a number."""
    rng = np.random.default_rng(3)
    return Dataset("tutorial", *(Split(*make(rng, n)) for n in COUNTS.values()), names)


def coloured(rng, count):
    """Noise of one of four colours; some are between two."""
    means = np.array([[190, 60, 60], [60, 190, 60], [60, 60, 190], [150, 150, 60]])
    labels = rng.integers(0, 4, count)
    images = means[labels][:, None, None] + rng.normal(0, 70, (count, 1, 1, 3))
    images = images + rng.normal(0, 30, (count, 16, 16, 3))
    return np.clip(images, 0, 255).astype(np.uint8), labels.astype(np.int32)


def texts(rng, count):
    """Token ids: each class has five words of its own, of which an example holds two or three."""
    labels = rng.integers(0, 4, count)
    ids = rng.integers(21, WORDS, (count, LENGTH))
    for row, label in zip(ids, labels, strict=True):
        at = rng.permutation(LENGTH)[: rng.integers(2, 4)]
        row[at] = 1 + 5 * label + rng.integers(0, 5, len(at))
    return ids.astype(np.int32), labels.astype(np.int32)


def quarters(rng, count):
    """Images with any of their quarters bright: four labels."""
    labels = rng.integers(0, 2, (count, 4))
    bright = 90 + 60 * labels.reshape(count, 2, 2).repeat(8, 1).repeat(8, 2)[..., None]
    images = bright + rng.normal(0, 60, (count, 1, 1, 1)) + rng.normal(0, 25, (count, 16, 16, 3))
    return np.clip(images, 0, 255).astype(np.uint8), labels.astype(np.int32)


def head(x, activation="softmax"):
    x = layers.Dense(12, activation="relu", name="hidden")(x)
    return layers.Dense(4, activation=activation, name="classes")(x)


def scratch():
    """Image classification from scratch: its own Rescaling."""
    inputs = keras.Input((16, 16, 3))
    x = layers.Rescaling(1.0 / 255)(inputs)
    for filters in (8, 12):
        x = layers.Conv2D(filters, 3, padding="same", activation="relu")(x)
        x = layers.MaxPooling2D()(x)
    return keras.Model(inputs, head(layers.Flatten()(x)))


def transfer():
    """Transfer learning: RandomFlip, ``preprocess_input``, a frozen backbone, dropout."""
    backbone = keras.applications.MobileNetV2(
        input_shape=(32, 32, 3), alpha=0.35, include_top=False, weights=None
    )
    low = backbone.get_layer("block_3_expand_relu").output  # soon traced
    backbone = keras.Model(backbone.input, low, name=backbone.name)
    _settle(backbone)
    backbone.trainable = False
    inputs = keras.Input((16, 16, 3))
    x = layers.RandomFlip("horizontal")(inputs)
    x = layers.Resizing(32, 32)(x)
    x = keras.applications.mobilenet_v2.preprocess_input(x)
    x = backbone(x, training=False)
    x = layers.Dropout(0.1)(layers.GlobalAveragePooling2D()(x))
    return keras.Model(inputs, head(x))


def _settle(backbone):
    """Gives batch norms the statistics of random images, as trained weights have some."""
    norms = [x for x in backbone.layers if isinstance(x, layers.BatchNormalization)]
    for momentum in (0.0, 0.999):
        for norm in norms:
            norm.momentum = momentum
        if not momentum:
            images = np.random.default_rng(0).uniform(-1, 1, (32, 1, 1, 3))
            backbone(np.broadcast_to(images, (32, 32, 32, 3)).astype("float32"), training=True)


def text():
    """Text classification: Embedding and LSTM."""
    inputs = keras.Input((LENGTH,), dtype="int32")
    x = layers.LSTM(12)(layers.Embedding(WORDS, 8)(inputs))
    return keras.Model(inputs, head(x))


def vit():
    """A vision transformer from scratch: patches, attention, layer norms."""
    inputs = keras.Input((16, 16, 3))
    x = layers.Rescaling(1.0 / 127.5, offset=-1)(inputs)
    x = layers.Reshape((16, 12))(layers.Conv2D(12, 4, strides=4)(x))
    y = layers.LayerNormalization(epsilon=1e-6)(x)
    x = layers.Add()([layers.MultiHeadAttention(2, 6)(y, y), x])
    y = layers.LayerNormalization(epsilon=1e-6)(x)
    y = layers.Dense(12)(layers.Dense(24, activation="gelu")(y))
    x = layers.Add()([y, x])
    x = layers.LayerNormalization(epsilon=1e-6)(x)
    return keras.Model(inputs, head(layers.GlobalAveragePooling1D()(x)))


def multi_label():
    """Several labels an image: sigmoids."""
    inputs = keras.Input((16, 16, 3))
    x = layers.Rescaling(1.0 / 255)(inputs)
    x = layers.Conv2D(8, 3, strides=2, activation="relu")(x)
    x = layers.AveragePooling2D(3)(x)
    return keras.Model(inputs, head(layers.Flatten()(x), "sigmoid"))


def resnext():
    """A convolution of several groups and a group norm, above the cut."""
    inputs = keras.Input((16, 16, 3))
    x = layers.Rescaling(1.0 / 255)(inputs)
    x = layers.Conv2D(16, 3, strides=2, padding="same", activation="relu")(x)
    y = layers.Conv2D(16, 1, use_bias=False, name="narrow")(x)
    y = layers.ReLU()(layers.BatchNormalization(momentum=0.8)(y))
    y = layers.Conv2D(16, 3, padding="same", groups=8)(y)
    y = layers.Conv2D(16, 1)(layers.ReLU()(layers.GroupNormalization(8)(y)))
    x = layers.ReLU()(layers.Add()([x, y]))
    return keras.Model(inputs, head(layers.GlobalAveragePooling2D()(x)))


# Builder, data, epochs, rate.
TUTORIALS = {
    "scratch": (scratch, coloured, 4, 0.01),
    "transfer": (transfer, coloured, 8, 0.01),
    "text": (text, texts, 6, 0.01),
    "vit": (vit, coloured, 4, 0.01),
    "resnext": (resnext, coloured, 8, 0.01),
    "multi_label": (multi_label, quarters, 8, 0.01),
}


def trained(kind):
    """The model of a tutorial, briefly trained by Keras, and its data."""
    build, make, epochs, rate = TUTORIALS[kind]
    data = dataset(make, tuple("abcd"))
    keras.utils.set_random_seed(2)
    model = build()
    loss = "binary_crossentropy" if data.multi_label else "sparse_categorical_crossentropy"
    model.compile(keras.optimizers.Adam(rate), loss)
    model.fit(data.train.images, data.train.labels, epochs=epochs, batch_size=32, verbose=0)
    return model, data


def keras_accuracy(model, split, logits=False):
    """Share of right answers by ``predict`` on the data as they are."""
    answers = model.predict(split.images, verbose=0)
    if split.labels.ndim == 2:
        return float(np.mean((answers > (0 if logits else 0.5)) == split.labels))
    return float(np.mean(answers.argmax(-1) == split.labels))
