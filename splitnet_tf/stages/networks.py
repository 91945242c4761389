"""Networks by name or from a file, and checks that they fit their data."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import keras

from splitnet_tf import models
from splitnet_tf.data import Dataset
from splitnet_tf.errors import ArgumentError, RunError
from splitnet_tf.graph import logits_model
from splitnet_tf.graph.keras_reader import functional_model
from splitnet_tf.grouping import Grouping
from splitnet_tf.recipe.losses import output_names
from splitnet_tf.storage.models import load_model


def choose_model(
    name: str,
    num_classes: int | None = None,
    input_shape: tuple[int, ...] | None = None,
    multi_label: bool = False,
    outputs: Mapping[str, bool] | None = None,
    **settings,
) -> keras.Model:
    """Builds a model by name or loads it from a file; it returns logits.

    Args:
      name: name for ``models.build``, or a ``.keras`` file.
      num_classes: int, classes that the model must have. Defaults to its own.
      input_shape: shape of an example that the model must take. Defaults to its own.
      multi_label, outputs: see ``logits_model``. Of several outputs, the first named is the one
        that must have ``num_classes``.
      **settings: arguments of the model's function; a file takes none.

    Raises:
      ArgumentError: the name is unknown, or the model does not fit.
      PlanError: the file does not hold a classifier.
    """
    if not _is_file(name):
        if outputs is not None:
            raise ArgumentError(
                f"`model={name}` has one output, the data labels for {', '.join(outputs)}; give a "
                "`.keras` file of a model with these outputs."
            )
        try:
            return models.build(name, num_classes, input_shape, **settings)
        except ValueError as error:
            raise ArgumentError(f"`model={name}`: {_reason(error)}") from None
    if settings:
        raise ArgumentError(f"`model={name}`: a file has no setting '{sorted(settings)[0]}'.")
    model = load_model(name)
    if outputs is not None:
        check_outputs(f"`model={name}`", model, list(outputs))
    model = logits_model(model, multi_label, outputs)
    last = model.outputs[0] if outputs is None else named_outputs(model)[next(iter(outputs))]
    found = (model.input_shape[1:], (last.shape[-1],))
    classes = None if num_classes is None else (num_classes,)
    for what, has, wanted in zip(
        ("inputs of shape", "classes:"), found, (input_shape, classes), strict=True
    ):
        if wanted is not None and not _takes((None, *has), (None, *wanted)):
            has, wanted = (v[0] if what == "classes:" else v for v in (has, wanted))
            raise ArgumentError(
                f"`model={name}`: it has {what} {has}, the data {wanted}; give a model made for "
                "this data."
            )
    return model


def model_settings(name: str) -> dict[str, Any]:
    """Returns the settings that a model can be built with, and their defaults; none for a file.

    Raises:
      ArgumentError: the name is unknown.
    """
    if _is_file(name):
        return {}
    try:
        return models.settings_of(name)
    except ValueError as error:
        raise ArgumentError(f"`model={name}`: {_reason(error)}") from None


def check_run_folder(name: str, path: Path, first: str = "make it first") -> None:
    """Raises RunError when an argument names a run folder, with no suffix, that is not there.

    Args:
      name: name of the argument.
      path: value of the argument.
      first: words that say what makes the folder.
    """
    if not path.exists() and not path.suffix:
        raise RunError(f"Run folder `{name}={path}` does not exist; {first}, or name another one.")


def named_outputs(model: keras.Model) -> dict[str, Any]:
    """Outputs of a model by name, see ``output_names``."""
    output = functional_model(model).output
    if isinstance(output, dict):
        return dict(output)
    return dict(zip(output_names(model), model.outputs, strict=True))


def check_outputs(what: str, model: keras.Model, names: Sequence[str]) -> None:
    """Checks that a model has the outputs for which the data have labels.

    Args:
      what: string, names the model.
      model: functional ``keras.Model``.
      names: the outputs; the first is the one whose classes are grouped.

    Raises:
      ArgumentError: an output is missing, or the first is not the model's first.
    """
    there = list(named_outputs(model))
    missing = [name for name in names if name not in there]
    if missing:
        raise ArgumentError(
            f"{what}: it has no output '{missing[0]}', for which the data have labels; its "
            f"outputs are {', '.join(there)}."
        )
    if names[0] != there[0]:
        raise ArgumentError(
            f"{what}: the classes are its first output, '{there[0]}', but the data say '{names[0]}'"
            "; put that output first, or its labels under `output`."
        )


def check_fits(what: str, model: keras.Model, dataset: Dataset) -> None:
    """Raises RunError when ``model``, which ``what`` names, is no classifier of the data set.

    Raises:
      ArgumentError: it lacks an output for which the data have labels.
    """
    outputs = model.outputs
    if dataset.classifiers is not None:
        check_outputs(what, model, list(dataset.classifiers))
        outputs = [named_outputs(model)[next(iter(dataset.classifiers))]]
    found = [tuple(x.shape) for x in (*model.inputs, *outputs)]
    wanted = [(None, *dataset.input_shape), (None, dataset.num_classes)]
    if len(found) != 2 or not all(map(_takes, found, wanted)):
        raise RunError(
            f"{what} has inputs and outputs {found}, but `dataset={dataset.name}` takes {wanted}, "
            "images and classes; give a model made for it, or its `dataset`."
        )


def check_classes(file: Path, grouping: Grouping, dataset: Dataset) -> None:
    """Raises RunError when a file's grouping is of other classes than the data set's."""
    names, known = grouping.class_names, dataset.class_names
    if names is not None and known is not None and list(names) != list(known):
        raise RunError(
            f"{file} groups {_listed(names)}, but `dataset={dataset.name}` has "
            f"{_listed(known)}; give the data that it was made for, planted data with the same "
            "`seed`."
        )


def _listed(names: Sequence[str]) -> str:
    return f"{len(names)} classes {', '.join(names[:3])}, ..."


def _takes(shape: tuple, wanted: tuple) -> bool:
    return len(shape) == len(wanted) and all(
        a is None or a == b for a, b in zip(shape[1:], wanted[1:], strict=True)
    )


def _is_file(name: str) -> bool:
    """True for a ``.keras`` file, and for others that hold a model, which are refused by name."""
    known = name.endswith((".keras", ".h5", ".hdf5"))
    return known or (Path(name) / "saved_model.pb").is_file()


def _reason(error: ValueError) -> str:
    """Returns the line of an error that says what is wrong; Keras' first may only say where."""
    lines = re.sub(r"\x1b\[\d+m", "", str(error)).split("\n")
    lines = [line.strip() for line in lines if line.strip()]
    return next((x for x in lines if not x.startswith("Exception encountered")), lines[0])
