"""Networks for the shrink, zeros put into them, and the one question: is it still the same?"""

import keras
import numpy as np

from splitnet_tf.sparsity import predict_changes, shrink_model
from tests.conftest import to_numpy


def settle(model, seed):
    """Weights that depend on the seed alone, of a size that keeps numbers near 1."""
    rng = np.random.default_rng(seed)
    for weight in model.weights:
        if weight.dtype.startswith("uint"):
            continue
        fan_in = np.prod(weight.shape[:-1]) if len(weight.shape) > 1 else 8
        noise = rng.normal(0, fan_in**-0.5, weight.shape)
        positive = weight.name in ("gamma", "moving_variance")
        weight.assign(np.exp(noise) if positive else noise)
    return model


def set_zero(variable, where):
    """Sets the weights of a variable to zero at an index."""
    value = to_numpy(variable.value).copy()
    value[where] = 0
    variable.assign(value)


def difference(model, small, seed=0, count=3):
    """Largest difference of the outputs, in units of the largest output."""
    rng = np.random.default_rng(seed)
    shapes = model.input_shape if isinstance(model.input_shape, list) else [model.input_shape]
    x = [rng.normal(size=(count, *(n or 7 for n in s[1:]))).astype("float32") for s in shapes]
    x = x[0] if len(x) == 1 else x
    expected = keras.tree.flatten(model(x, training=False))
    found = keras.tree.flatten(small(x, training=False))
    assert len(expected) == len(found)
    worst = 0.0
    for a, b in zip(expected, found, strict=True):
        a, b = to_numpy(a), to_numpy(b)
        assert a.shape == b.shape
        worst = max(worst, float(np.abs(a - b).max() / max(np.abs(a).max(), 1e-3)))
    return worst


def check_shrink(model, selection=None, gather=False, seed=0):
    """The shrunk model computes the same and is as predicted; returns what was done."""
    shrunk = shrink_model(model, selection, gather)
    assert difference(model, shrunk.model, seed) <= 1e-5
    assert predict_changes(model, selection, gather) == shrunk.changes
    names = {layer.name for layer in shrunk.model.layers}
    for change in shrunk.changes.kernels:
        if change.after is None:
            assert change.layer not in names
        else:
            kernel = getattr(shrunk.model.get_layer(change.layer), change.kernel)
            assert tuple(kernel.shape) == change.after
    return shrunk


def kernel_shapes(shrunk):
    return {c.layer: c.after for c in shrunk.changes.kernels}
