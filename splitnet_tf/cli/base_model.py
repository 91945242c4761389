"""The plain model that the group program starts from, as its flags say."""

from __future__ import annotations

import logging
import random
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import keras
from absl import flags

from splitnet_tf import models
from splitnet_tf.data import Dataset, evaluation_batches
from splitnet_tf.errors import RunError
from splitnet_tf.grouping import SplitPlan
from splitnet_tf.models.short_forms import parse_splits
from splitnet_tf.stages.networks import check_run_folder, choose_model, model_settings
from splitnet_tf.storage.models import load_model
from splitnet_tf.training import compiled_forward, evaluate

FLAGS = flags.FLAGS


def model_name() -> str:
    """The model that the flags choose."""
    return FLAGS.model or models.wide_resnet_name(FLAGS.num_residual_units, FLAGS.k)


def sections() -> list[tuple[str, int]]:
    """The sections that the flags choose."""
    short = f"{FLAGS.ngroups3}-{FLAGS.ngroups2}-{FLAGS.ngroups1}"
    return parse_splits(FLAGS.splits or short, model_name())


def starts_trained() -> bool:
    """Whether the weights are those of a file."""
    return bool(FLAGS.basemodel) or model_name().endswith(".keras")


def keep_probability() -> float:
    """What ``config.json`` says of dropout: the flag, or what the model does by itself."""
    if FLAGS.dropout_keep_prob is not None:
        return FLAGS.dropout_keep_prob
    return 1 - model_settings(model_name()).get("dropout", 0.0)


def build_model(dataset: Dataset) -> keras.Model:
    """The plain model, with the weights of ``--basemodel`` if there is one.

    Raises:
      flags.Error: a flag that the model does not take.
      RunError: ``--basemodel`` cannot be read, or does not fit the model.
    """
    name, extra = model_name(), {}
    takes = model_settings(name)
    _check_taken(takes)
    if "bn_scale" in takes:
        extra["bn_scale"] = not FLAGS.bn_no_scale
    if "dropout" in takes and FLAGS.dropout_keep_prob is not None:
        extra["dropout"] = 1 - FLAGS.dropout_keep_prob
    if "dropout_from" in takes and extra.get("dropout"):
        extra["dropout_from"] = _first_split_unit(dataset)
        if extra["dropout_from"] is None:
            logging.warning("--dropout_keep_prob drops features in split units; none is split.")
            del extra["dropout"]
    model = choose_model(name, dataset.num_classes, dataset.input_shape, **extra)
    if FLAGS.basemodel:
        _load_base(model)
    return model


def _check_taken(takes: Mapping[str, Any]) -> None:
    """Refuses flags that would do nothing; the scripts give both, so it says how to undo them."""
    unused, add = [], []
    if "dropout" not in takes and FLAGS.dropout_keep_prob not in (None, 1):
        unused.append(f"--dropout_keep_prob={FLAGS.dropout_keep_prob:g}")
        add.append("--dropout_keep_prob=1")
    if "bn_scale" not in takes and FLAGS.bn_no_scale:
        unused.append("--bn_no_scale")
        add.append("--bn_no_scale=false")
    if unused:
        raise flags.Error(
            f"--model={model_name()} does not take {' and '.join(unused)}; add {' '.join(add)} at "
            "the end."
        )


def _first_split_unit(dataset: Dataset) -> str | None:
    """The first residual unit with a split kernel, of the same model without dropout."""
    state = random.getstate()  # Keras draws the seeds of its layers from it
    model = choose_model(model_name(), dataset.num_classes, dataset.input_shape)
    random.setstate(state)
    kernels = SplitPlan.from_sections(model, sections()).kernels
    units = (re.match(r"unit_\d+_\d+", kernel.name) for kernel in kernels)
    return next((unit[0] for unit in units if unit), None)


def _load_base(model: keras.Model) -> None:
    """Copies the weights of ``--basemodel``, by layer name."""
    path = Path(FLAGS.basemodel)
    check_run_folder("basemodel", path, "train the plain model first, with --splits=1-1-1 say")
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
