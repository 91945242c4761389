"""Gradients on the backend in use."""

import keras
import numpy as np
from keras import ops


def gradients(function, values) -> dict[str, np.ndarray]:
    """Gradient of a scalar function of arrays by name."""
    values = {name: ops.convert_to_tensor(value) for name, value in values.items()}
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        with tf.GradientTape() as tape:
            tape.watch(values)
            result = function(values)
        found = tape.gradient(result, values)
        return {n: np.zeros(values[n].shape) if g is None else g.numpy() for n, g in found.items()}
    if keras.backend.backend() == "jax":
        import jax

        return {n: np.asarray(g) for n, g in jax.grad(function)(values).items()}
    for value in values.values():
        value.requires_grad_(True)
    function(values).backward()
    return {
        n: np.zeros(tuple(v.shape)) if v.grad is None else v.grad.numpy() for n, v in values.items()
    }
