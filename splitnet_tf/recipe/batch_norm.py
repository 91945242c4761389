"""Batch-norm statistics re-estimated on data."""

from __future__ import annotations

import itertools
import logging
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import keras
import numpy as np
from keras import ops

from splitnet_tf.errors import DataError
from splitnet_tf.graph.keras_reader import all_layers


def recalibrate_batch_norm(
    model: Any, batches: Any, num_batches: int | None = None, batch_size: int = 32
) -> int:
    """Re-estimates the moving statistics of batch norms from training data.

    A cut changes what arrives at every batch norm, and its moving averages are then wrong. This
    sets them to the mean over the batches of each batch's mean and variance. Batch k is averaged
    in with momentum (k-1)/k; dropout is off; weights do not change. Frozen batch norms
    (``trainable`` is False) keep their statistics, as in Keras' ``fit``; the log names them.

    Args:
      model: any ``keras.Model``, whose nested models are entered; or a ``SplitTree``.
      batches: batches of inputs (B, ...), or of tuples (x, y[, sample weight]) whose x they are;
        a ``keras.utils.PyDataset`` of such batches; whole arrays: x (a dict of them for several
        inputs), or a tuple (x, y[, ...]).
      num_batches: int, batches to take, needed where ``batches`` has no end. Defaults to all.
      batch_size: int, examples in a batch of whole arrays. Defaults to 32.

    Returns:
      The number of batches seen; 0 where every batch norm is frozen.

    Raises:
      DataError: no batch, or statistics that are not finite.

    An error from ``batches`` or the model leaves statistics and settings as they were.
    """
    model = model if isinstance(model, keras.Model) else model.model
    if _is_whole(batches, model):
        batches = (batches,)
    norms, others, frozen = [], [], []
    for layer in all_layers(model):
        if isinstance(layer, keras.layers.BatchNormalization):
            if not layer.trainable:
                frozen.append(layer.name)
                continue
            kept = [ops.copy(v) for v in (layer.moving_mean, layer.moving_variance)]
            norms.append((layer, layer.momentum, kept))
        elif isinstance(getattr(layer, "rate", None), float) and hasattr(layer, "seed_generator"):
            others.append((layer, layer.rate))
    if frozen:
        names = ", ".join([*frozen[:3], *(["..."] if len(frozen) > 3 else [])])
        logging.info(
            "%d of %d batch norms are frozen and keep their statistics: %s.",
            *(len(frozen), len(frozen) + len(norms), names),
        )
        if not norms:
            return 0
    count = 0
    try:
        for layer, _ in others:
            layer.rate = 0.0
        for inputs in itertools.islice(_inputs(batches, batch_size), num_batches):
            count += 1
            for layer, _, _ in norms:
                layer.momentum = (count - 1) / count
            model(keras.tree.map_structure(ops.convert_to_tensor, inputs), training=True)
        if not count:
            raise DataError("Batch norm needs one batch or more to be re-estimated; got none.")
        for layer, _, _ in norms:
            for statistic in (layer.moving_mean, layer.moving_variance):
                if not np.isfinite(ops.convert_to_numpy(statistic)).all():
                    raise DataError(
                        f"The statistics of batch norm '{layer.name}' are not finite on these "
                        "images; look for pixels that are nan or inf. The old ones are kept."
                    )
    except BaseException:
        for layer, _, (mean, variance) in norms:
            layer.moving_mean.assign(mean)
            layer.moving_variance.assign(variance)
        raise
    finally:
        for layer, momentum, _ in norms:
            layer.momentum = momentum
        for layer, rate in others:
            layer.rate = rate
    return count


def _is_whole(batches: Any, model: keras.Model) -> bool:
    """True for the inputs of all examples in place of batches of them."""
    if isinstance(batches, Mapping):
        return True
    shape, inputs = getattr(batches, "shape", None), getattr(model, "inputs", None)
    return shape is not None and bool(inputs) and len(shape) == len(inputs[0].shape)


def _inputs(batches: Iterable, batch_size: int) -> Iterator:
    """Inputs of each batch."""
    if isinstance(batches, tuple):
        x = batches[0]
        for start in range(0, len(keras.tree.flatten(x)[0]), batch_size):
            yield keras.tree.map_structure(lambda a, k=start: a[k : k + batch_size], x)
        return
    if isinstance(batches, keras.utils.PyDataset):  # has a length, and no end when iterated
        batches = map(batches.__getitem__, range(len(batches)))
    for batch in batches:
        yield batch[0] if isinstance(batch, tuple) else batch
