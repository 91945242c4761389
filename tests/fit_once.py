"""One ``fit`` step of a grouped model on the backend that ``KERAS_BACKEND`` names.

KERAS_BACKEND=jax python -m tests.fit_once found.npz
"""

import sys

import keras
import numpy as np

import splitnet_tf as sn


def main(path: str) -> None:
    rng = np.random.default_rng(0)
    plain = sn.models.wide_resnet(10, 1, 10, (8, 8, 3))
    plan = sn.SplitPlan.from_sections(plain, [("unit_2_0", 2), ("unit_3_0", 4)])
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
