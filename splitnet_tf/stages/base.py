"""Models that a stage starts from: a plain one by name or with trained weights, a grouped one."""

from __future__ import annotations

import logging
import random
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import keras

from splitnet_tf.data import Dataset
from splitnet_tf.errors import ArgumentError, EmptyGroupError, GroupingError, RunError
from splitnet_tf.grouping import Grouping, SplitPlan, read_grouping
from splitnet_tf.recipe.preprocessing import NONE, Preprocessing
from splitnet_tf.runs.names import GROUPED, GROUPING, PLAIN, SPARSE
from splitnet_tf.stages.networks import (
    check_classes,
    check_fits,
    choose_model,
    model_settings,
)
from splitnet_tf.stages.preprocessing import known_start, preprocessing_for
from splitnet_tf.stages.run_files import folder_of, named_model
from splitnet_tf.storage.digests import digest_arrays

Sections = Sequence[tuple[str, int]]


def base_model(
    name: str,
    sections: Sections,
    num_classes: int,
    input_shape: tuple[int, ...],
    *,
    dropout_keep_prob: float | None = None,
    bn_no_scale: bool = False,
    base: str | Path | None = None,
    raw: bool = False,
    multi_label: bool = False,
    outputs: Mapping[str, bool] | None = None,
) -> keras.Model:
    """A network to be grouped; it returns logits.

    Args:
      name: a model by name, or a ``.keras`` file, see ``choose_model``.
      sections: (start, groups), which say where dropout begins in a Wide ResNet.
      num_classes, input_shape: those of the data.
      dropout_keep_prob: float, share of features kept by dropout. Defaults to the model's own.
      bn_no_scale: bool, whether batch norms have no scale.
      base: ``.keras`` file or run folder whose weights the network starts with, by layer name.
      raw: bool, whether the inputs are raw numbers: a network of ``keras.applications`` that has
        layers which scale them is then built with these. Defaults to False.
      multi_label: bool, whether an example may have several classes. Defaults to False.
      outputs: of several outputs, those that classify, see ``choose_model``.

    Raises:
      ArgumentError: an argument that the model does not take.
      RunError: the file cannot be read, or does not fit the model.
    """
    takes, settings = model_settings(name), {}
    _check_taken(name, takes, dropout_keep_prob, bn_no_scale)
    if "include_preprocessing" in takes:
        settings["include_preprocessing"] = raw
    if "bn_scale" in takes:
        settings["bn_scale"] = not bn_no_scale
    if "dropout" in takes and dropout_keep_prob is not None:
        settings["dropout"] = 1 - dropout_keep_prob
    if "dropout_from" in takes and settings.get("dropout"):
        unit = _first_split_unit(name, sections, num_classes, input_shape)
        if unit is None:
            logging.warning("`dropout_keep_prob` drops features in split units; none is split.")
            del settings["dropout"]
        else:
            settings["dropout_from"] = unit
    model = choose_model(name, num_classes, input_shape, multi_label, outputs, **settings)
    if base:
        load_base(model, base)
    return model


def start_model(
    name: str,
    dataset: Dataset,
    given: Preprocessing | None = None,
    *,
    base: str | Path | None = None,
    sections: Sections = (),
    **own: Any,
) -> tuple[keras.Model, Preprocessing]:
    """A network that a training starts with, and the preprocessing of its inputs.

    Args:
      name, base, sections: see ``base_model``.
      dataset: data set to train on.
      given: preprocessing that the user gives. Defaults to none: see ``choose_preprocessing``.
      **own: further arguments of ``base_model``.

    Raises:
      ArgumentError, RunError: see ``choose_preprocessing`` and ``base_model``.
    """
    found = preprocessing_for(known_start(name, base), given, dataset, name)
    model = base_model(
        *(name, sections, dataset.num_classes, dataset.input_shape),
        base=base,
        raw=found == NONE,
        multi_label=dataset.multi_label,
        outputs=dataset.classifiers,
        **own,
    )
    return model, found


def start_settings(model: keras.Model, name: str, base: str | Path | None) -> dict[str, str]:
    """The setting ``start_digest`` of a run that starts with weights of a file; else none."""
    if base or name.endswith(".keras"):
        return {"start_digest": digest_arrays(model.get_weights())}
    return {}


def own_keep_probability(name: str) -> float:
    """The share of features that a model keeps by itself."""
    return 1 - model_settings(name).get("dropout", 0.0)


def _check_taken(
    name: str, takes: Mapping[str, Any], keep: float | None, bn_no_scale: bool
) -> None:
    """Refuses arguments without effect; scripts give both, so the sentence says how to undo."""
    unused, add = [], []
    if "dropout" not in takes and keep not in (None, 1):
        unused.append(f"`dropout_keep_prob={keep:g}`")
        add.append("`dropout_keep_prob=1`")
    if "bn_scale" not in takes and bn_no_scale:
        unused.append("`bn_no_scale`")
        add.append("`bn_no_scale=False`")
    if unused:
        raise ArgumentError(
            f"`model={name}` does not take {' and '.join(unused)}; add {' '.join(add)} at the end."
        )


def _first_split_unit(
    name: str, sections: Sections, num_classes: int, input_shape: tuple[int, ...]
) -> str | None:
    """The first residual unit with a split kernel, of the same model without dropout."""
    model = model_apart(name, num_classes, input_shape)
    kernels = SplitPlan.from_sections(model, sections).kernels
    units = (re.match(r"unit_\d+_\d+", kernel.name) for kernel in kernels)
    return next((unit[0] for unit in units if unit), None)


def model_apart(
    name: str,
    num_classes: int,
    input_shape: Sequence[int],
    multi_label: bool = False,
    outputs: Mapping[str, bool] | None = None,
) -> keras.Model:
    """A model to look at; the weights of those made after it are as without it."""
    state = random.getstate()  # Keras draws the seeds of its layers from it
    model = choose_model(name, num_classes, tuple(input_shape), multi_label, outputs)
    random.setstate(state)
    return model


def load_base(model: keras.Model, base: str | Path) -> None:
    """Copies the weights of a trained model into another one, by layer name.

    Args:
      model: takes the weights.
      base: a ``.keras`` file, or the run folder of a plain or sparse training.

    Raises:
      RunError: the file cannot be read, or a layer does not fit.
    """
    trained = named_model("base", base, (PLAIN, SPARSE))
    sources = {layer.name: layer for layer in trained.layers}
    for layer in model.layers:
        source = sources.get(layer.name)
        if not layer.weights:
            continue
        shapes = [w.shape for w in layer.weights]
        if source is None or [w.shape for w in source.weights] != shapes:
            raise RunError(
                f"`base={base}`: its layer '{layer.name}' does not fit the model; give the same "
                "`model` and `dataset` as it was trained with."
            )
        layer.set_weights(source.get_weights())


def load_grouped(
    base: str | Path, dataset: Dataset, grouping: str | Path | None = None, method: str = "file"
) -> tuple[keras.Model, Grouping]:
    """A grouped model and its grouping, of files that fit the data.

    Args:
      base: run folder of the grouping, or a ``.keras`` file.
      dataset: the data that the tree will be trained on.
      grouping: file of the grouping. Defaults to that beside the model.
      method: ``"file"``, or how the groups are read from the assignments, see ``read_grouping``.

    Raises:
      RunError, GroupingError: a file that is not there, or of other data; an empty group.
    """
    path = Path(base)
    model = named_model("base", path, (GROUPED,))
    check_fits(f"`base={path}`", model, dataset)
    file = Path(grouping or folder_of(path) / GROUPING)
    try:
        found = Grouping.load(file)
    except GroupingError:
        if method == "file":
            raise
    else:
        check_classes(file, found, dataset)
        if method == "file":
            return model, found
    try:
        return model, read_grouping(model, method, dataset.class_names)
    except EmptyGroupError as error:
        raise GroupingError(
            f"{error.what}, by the assignments of `base={path}`; read them with "
            "`method=balanced`, or group anew with a larger `gamma3`."
        ) from None
