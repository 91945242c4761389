"""The plain model that the group program starts from, as its flags say."""

from __future__ import annotations

import logging
import re
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
    dropout = 1 - FLAGS.dropout_keep_prob
    sizes = dataset.num_classes, dataset.input_shape
    if name.lower().startswith("wrn-"):
        extra["bn_scale"] = not FLAGS.bn_no_scale
        unit = _first_split_unit(choose_model(name, *sizes)) if dropout else None
        if unit:
            extra |= {"dropout": dropout, "dropout_from": unit}
        elif dropout:
            logging.warning("--dropout_keep_prob drops features in split units; none is split.")
    elif FLAGS.bn_no_scale:
        raise flags.Error(
            f"--bn_no_scale is for Wide ResNets, not for {name}; turn it off, --bn_no_scale=false."
        )
    elif dropout and name.lower().endswith(".keras"):
        raise flags.Error(
            "--dropout_keep_prob: a model of a file keeps its dropout as it is; give 1."
        )
    elif dropout or name.lower() == "alexnet":  # which has dropout of its own
        extra["dropout"] = dropout
    model = choose_model(name, *sizes, **extra)
    if FLAGS.basemodel:
        _load_base(model)
    return model


def _first_split_unit(model: keras.Model) -> str | None:
    """The first residual unit of a Wide ResNet at or above the start of the first split."""
    starts = [start for start, groups in sections() if groups > 1]
    names = [layer.name for layer in model.layers]
    first = starts[0] if starts else "logits"
    at = [i for i, name in enumerate(names) if name == first or name.startswith(f"{first}_")]
    units = (re.match(r"unit_\d+_\d+", name) for name in names[at[0] :]) if at else ()
    return next((unit[0] for unit in units if unit), None)


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
