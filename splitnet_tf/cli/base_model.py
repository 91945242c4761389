"""The plain model that the group program starts from, as its flags say."""

from __future__ import annotations

import logging
from pathlib import Path

import keras
from absl import flags

from splitnet_tf.cli.model_flag import choose_model
from splitnet_tf.cli.sections import parse_splits
from splitnet_tf.data import Dataset, evaluation_batches
from splitnet_tf.errors import RunError
from splitnet_tf.saving import load_model
from splitnet_tf.training import compiled_forward, evaluate

FLAGS = flags.FLAGS


def model_name() -> str:
    """The model that the flags choose."""
    return FLAGS.model or f"wrn-{6 * FLAGS.num_residual_units + 4}-{FLAGS.k}"


def sections() -> list[tuple[str, int]]:
    """The sections that the flags choose."""
    short = f"{FLAGS.ngroups3}-{FLAGS.ngroups2}-{FLAGS.ngroups1}"
    return parse_splits(FLAGS.splits or short, model_name())


def starts_trained() -> bool:
    """Whether the weights are those of a file."""
    return bool(FLAGS.basemodel) or model_name().endswith(".keras")


def build_model(dataset: Dataset) -> keras.Model:
    """The plain model, with the weights of ``--basemodel`` if there is one.

    Raises:
      RunError: ``--basemodel`` cannot be read, or does not fit the model.
    """
    name, extra = model_name(), {}
    if FLAGS.dropout_keep_prob < 1:
        extra["dropout"] = 1 - FLAGS.dropout_keep_prob
    if name.lower().startswith("wrn-"):
        starts = [start for start, groups in sections() if groups > 1]
        units = [s for s in starts if s.startswith("unit_")]
        if units:
            extra["dropout_from"] = units[0]
        elif extra.pop("dropout", 0):
            logging.warning("--dropout_keep_prob drops features in split units; none is split.")
        extra["bn_scale"] = not FLAGS.bn_no_scale
    model = choose_model(name, dataset.num_classes, dataset.input_shape, **extra)
    if FLAGS.basemodel:
        _load_base(model)
    return model


def _load_base(model: keras.Model) -> None:
    """Copies the weights of ``--basemodel``, by layer name."""
    path = Path(FLAGS.basemodel)
    base = load_model(path / "model.keras" if path.is_dir() else path)
    sources = {layer.name: layer for layer in base.layers}
    for layer in model.layers:
        source = sources.get(layer.name)
        if not layer.weights:
            continue
        shapes = [w.shape for w in layer.weights]
        if source is None or [w.shape for w in source.weights] != shapes:
            raise RunError(
                f"--basemodel={FLAGS.basemodel}: its layer '{layer.name}' does not fit the model; "
                "give the same --model and --dataset as it was trained with."
            )
        layer.set_weights(source.get_weights())


def accuracy_at_start(dataset: Dataset, model: keras.Model) -> dict[str, float]:
    """Validation accuracy before the first step, when training starts from a trained model."""
    if not starts_trained():
        return {}
    found = evaluate(compiled_forward(model), evaluation_batches(dataset.valid, 200))
    logging.info("Before the first step: validation accuracy %.2f%%.", 100 * found.top1)
    return {"valid_accuracy_at_start": found.top1}
