"""One ``fit`` step of a grouped model on the backend that ``KERAS_BACKEND`` names.

KERAS_BACKEND=jax python -m tests.fit_once found.npz
"""

import sys

import keras
import numpy as np
from keras import layers

import splitnet_tf as sn


def residual_network() -> keras.Model:
    """Every kind of layer of a Wide ResNet, and few of each: JAX compiles them for long."""
    inputs = keras.Input((8, 8, 3))
    start = layers.Conv2D(8, 3, padding="same", use_bias=False, name="init_conv")(inputs)
    x = layers.ReLU()(layers.BatchNormalization(name="norm_1")(start))
    x = layers.Conv2D(8, 3, padding="same", strides=2, use_bias=False, name="conv_1")(x)
    x = layers.ReLU()(layers.BatchNormalization(name="norm_2")(x))
    x = layers.Conv2D(12, 3, padding="same", use_bias=False, name="conv_2")(x)
    shortcut = layers.Conv2D(12, 1, strides=2, use_bias=False, name="shortcut")(start)
    x = layers.ReLU()(layers.BatchNormalization(name="norm_3")(layers.Add()([x, shortcut])))
    return keras.Model(inputs, layers.Dense(10, name="logits")(layers.GlobalAvgPool2D()(x)))


def main(path: str) -> None:
    rng = np.random.default_rng(0)
    plain = residual_network()
    plan = sn.SplitPlan.from_sections(plain, [("conv_1", 2), ("logits", 4)])
    grouped = sn.group_model(plain, plan)
    for weight in grouped.weights:
        if weight.trainable:
            spread = 1.0 if weight.name == "logits" else 0.1
            start = 1.0 if weight.name == "gamma" else 0.0
            weight.assign(start + spread * rng.normal(size=weight.shape))
    images = rng.normal(size=(16, 8, 8, 3)).astype("float32")
    labels = rng.integers(0, 10, 16)
    grouped(images)
    found = {"split_losses": np.array([float(v) for v in grouped.losses])}
    grouped.compile(
        keras.optimizers.SGD(1.0), keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    )
    before = {w.path: w.numpy() for w in grouped.trainable_weights}
    history = grouped.fit(images, labels, batch_size=16, verbose=0)
    found["loss"] = np.array(history.history["loss"])
    # A step of plain SGD at rate 1 is the gradient.
    found |= {w.path: before[w.path] - w.numpy() for w in grouped.trainable_weights}
    np.savez(path, **{name.replace("/", "|"): value for name, value in found.items()})


if __name__ == "__main__":
    main(sys.argv[1])
