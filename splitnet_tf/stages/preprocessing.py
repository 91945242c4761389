"""Preprocessing of a model's inputs: the one place that decides which one holds."""

from __future__ import annotations

import dataclasses
import logging
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np

from splitnet_tf.data import Dataset
from splitnet_tf.errors import ArgumentError, PlanError, RunError
from splitnet_tf.graph import Call, Graph, read_graph
from splitnet_tf.graph.calls import is_keras_operation
from splitnet_tf.models.families import family_preprocessing
from splitnet_tf.models.registry import applications
from splitnet_tf.recipe.preprocessing import NONE, WHITEN, Preprocessing
from splitnet_tf.runs import read_config
from splitnet_tf.runs.names import CONFIG, FINISHED, PLAIN, SMALLER, SPARSE, TREES
from splitnet_tf.stages.run_files import model_file
from splitnet_tf.storage.models import load_model, model_notes

STANDARDIZE = Preprocessing("standardize")
SMALL = 64  # pixels; larger images keep their colours and brightness
KEY = "preprocessing"  # of the settings of a run, and of the notes in a model file
# Layers before which nothing is prepared: they take the numbers as they are.
_OWN = ("Rescaling", "Normalization", "Embedding")
_ARITHMETIC = ("Add", "Subtract", "Multiply", "Divide", "TrueDivide")  # with constants
_PASSED = (
    *("Identity", "Resizing", "CenterCrop", "AutoContrast", "MixUp", "CutMix", "AugMix"),
    *("Cast", "GetItem", "Stack", "Flip", "Take"),  # operations
)


@dataclasses.dataclass(frozen=True)
class Known:
    """Facts about the model that a program runs.

    Attributes:
      what: string, the argument that names the model, as a sentence has it.
      record: preprocessing that its file or its run says. Defaults to None: it says none.
      former: bool, whether the run was made before preprocessing could be chosen.
      model: returns a model from a file; None for a model by name.
    """

    what: str
    record: Preprocessing | None = None
    former: bool = False
    model: Callable[[], keras.Model] | None = None


def choose_preprocessing(
    known: Known,
    given: Preprocessing | None,
    images: bool,
    name: str | None = None,
    large: bool = False,
) -> tuple[Preprocessing, str]:
    """Decides how the inputs of a model are prepared; the first row that fits holds.

    | case | preprocessing |
    |---|---|
    | given, and the file or the run says another | ArgumentError |
    | given | the one given |
    | the file or the run says one | that |
    | a run made before preprocessing could be chosen | ``whiten`` |
    | a network of this package by name, images | ``whiten``; ``standardize`` for large ones |
    | inputs that are no images | ``none`` |
    | a network of ``keras.applications`` by name | that of its family |
    | a file that begins with ``Rescaling``, ``Normalization``, ``Embedding`` or constants | ``none`` |
    | a file of a family of ``keras.applications``, by the name of the model or its first layer | that of its family |
    | any other file | ArgumentError, which asks |

    Random augmentation and resizing are passed over at the beginning of a file's model. Families
    whose models scale raw pixels themselves have ``none``.

    Args:
      known: facts about the model.
      given: preprocessing that the user gives, or None.
      images: bool, whether the data are images.
      name: string, name of the model where it is not from a file.
      large: bool, whether the images are bytes, coloured and larger than ``SMALL`` pixels. Defaults to
        False.

    Returns:
      The preprocessing, and the reason in words.

    Raises:
      ArgumentError: see above.
    """  # noqa: E501, a row of a table is a line
    record = WHITEN if known.record is None and known.former else known.record
    if given is not None:
        if record is not None and record != given:
            raise ArgumentError(
                f"`preprocessing={given}`: {known.what} was trained with `preprocessing={record}`; "
                "leave it out, or train a model anew."
            )
        return given, "as given"
    if record is not None:
        return record, f"as {known.what} was trained"
    if not images:
        return NONE, "as the data are no images"
    if known.model is None:
        kind = family_of(name)
        if kind is None and large:
            return STANDARDIZE, "the default of this package's networks on large images"
        if kind is None:
            return WHITEN, "the default of this package's networks"
        return Preprocessing(kind), f"as keras.applications prepares images for {name}"
    model = known.model()
    first = first_call(model)
    if first is not None and _scales(first):
        return NONE, f"as {known.what} begins with '{first.name}'"
    kind = family_preprocessing(model.name)
    if kind is None and first is not None:
        kind = family_preprocessing(first.name)
    if kind not in (None, "none"):
        return Preprocessing(kind), f"as keras.applications prepares images for '{model.name}'"
    raise ArgumentError(
        f"{known.what}: nothing says how its images are prepared; give `preprocessing`, as it was "
        "trained: none where the model takes raw pixels, scale01 for 0 to 1, scale11 for -1 to 1, "
        "standardize, caffe, or whiten."
    )


def family_of(name: str) -> str | None:
    """Kind of preprocessing of a network by name; None for one of this package."""
    return family_preprocessing(name) if name.lower() in applications() else None


def first_call(model: keras.Model) -> Call | None:
    """The first call that reads a model's input, random layers and resizing passed over.

    None where the model has several inputs, or no graph.
    """
    try:
        graph = read_graph(model)
    except PlanError:
        return None
    if len(graph.inputs) != 1:
        return None
    t = graph.inputs[0]
    while True:
        call = _reader(graph, t)
        if call is None or not _passed(call):
            return call
        t = call.outputs[0]


def _reader(graph: Graph, tensor: int) -> Call | None:
    return next((c for c in graph.calls if tensor in c.inputs), None)


def _passed(call: Call) -> bool:
    kind = type(call.op).__name__
    return kind in _PASSED or bool(re.match("Rand(om|Augment)", kind))


def _scales(call: Call) -> bool:
    """True for a call that takes raw numbers: a layer made for them, or constants."""
    kind = type(call.op).__name__
    if kind in _OWN:
        return True
    return is_keras_operation(call.op) and kind in _ARITHMETIC and len(call.inputs) == 1


def known_of(argument: str, path: str | Path, names: Sequence[str] = FINISHED) -> Known:
    """Facts about the model of a file or a run folder.

    Args:
      argument, path, names: see ``model_file``.

    Raises:
      RunError: the folder is not one that the argument takes, or its notes or settings are damaged.
    """
    file = model_file(argument, path, names)
    known = Known(f"`{argument}={path}`", model=lambda: load_model(file))
    notes = model_notes(file).get(KEY) if file.is_file() else None
    if notes is not None:
        return dataclasses.replace(known, record=_read(Preprocessing.from_document, notes, file))
    if file.name not in (*FINISHED, *TREES, *SMALLER) or not (file.parent / CONFIG).is_file():
        return known
    config = read_config(file.parent)
    if config.get(KEY) is not None:
        record = _read(Preprocessing.parse, str(config[KEY]), file.parent / CONFIG)
        return dataclasses.replace(known, record=record)
    # Runs from Python have no such flag: nobody knows what they were fed.
    return dataclasses.replace(known, former="train_dir" in config and KEY not in config)


def _read(read: Callable[[Any], Preprocessing], value: Any, file: Path) -> Preprocessing:
    try:
        return read(value)
    except ArgumentError as error:
        raise RunError(f"{file}: {error}") from None


def preprocessing_for(
    known: Known, given: Preprocessing | None, dataset: Dataset, name: str | None = None
) -> Preprocessing:
    """Decides as ``choose_preprocessing``, checks that the data suit, and logs what holds.

    Raises:
      ArgumentError: see there, or data that it is not for.
    """
    shape = dataset.input_shape
    large = dataset.has_images and min(shape[:2]) > SMALL and shape[2] == 3
    large = large and dataset.train.images.dtype == np.uint8
    found, reason = choose_preprocessing(known, given, dataset.has_images, name, large)
    found.check(dataset.train.images)
    logging.info("Inputs are prepared by `preprocessing=%s`, %s.", found, reason)
    return found


def preprocessing_known(
    known: Known, given: Preprocessing | None, images: bool
) -> Preprocessing | None:
    """The preprocessing of a model that is written for others; None, and a warning, if unknown.

    Raises:
      ArgumentError: another is given than the model was trained with.
    """
    if given is not None or known.record is not None or known.former or not images:
        return choose_preprocessing(known, given, images)[0]
    try:
        return choose_preprocessing(known, None, images)[0]
    except ArgumentError:
        logging.warning(
            "Nothing says how the inputs of %s are prepared, so that nothing is put in front of it "
            "and the manifest does not say it; give `preprocessing`.",
            known.what,
        )
        return None


def takes_images(model: keras.Model) -> bool:
    """True for a model with one input, of images."""
    return len(model.inputs) == 1 and len(model.inputs[0].shape) == 4


def check_same(
    known: Known, preprocessing: Preprocessing, images: bool, given: bool = False
) -> None:
    """Checks that a model, such as a teacher, takes inputs prepared as the network's are.

    Args:
      known: facts about the model.
      preprocessing: of the network.
      images: bool, whether the data are images.
      given: bool, whether the user gave ``preprocessing``, which then holds for a model of which
        nothing is known. Defaults to False.

    Raises:
      ArgumentError: they are prepared otherwise, or nothing says how.
    """
    try:
        own, _ = choose_preprocessing(known, None, images)
    except ArgumentError:  # nothing is known of it
        if given:
            return
        raise ArgumentError(
            f"{known.what}: nothing says how its images are prepared; give its run folder, or "
            f"`preprocessing={preprocessing}` if they are prepared as the network's."
        ) from None
    if own != preprocessing:
        raise ArgumentError(
            f"{known.what} takes inputs prepared by `preprocessing={own}`, the network by "
            f"`preprocessing={preprocessing}`; give one that takes the same."
        )


def recorded(preprocessing: Preprocessing | str | None) -> dict[str, str]:
    """The setting and result ``preprocessing`` as text; none where it is not known."""
    return {} if preprocessing is None else {KEY: str(_made(preprocessing))}


def known_start(name: str, base: str | None, names: Sequence[str] = (PLAIN, SPARSE)) -> Known:
    """Facts about the network that a training starts from.

    Args:
      name: name of a model, or its ``.keras`` file.
      base: file or run folder of its weights, or None.
      names: model files of run folders that ``base`` may be.
    """
    if base:
        return known_of("base", base, names)
    if name.endswith(".keras"):
        return known_of("model", name)
    return Known(f"`model={name}`")


def notes_of(preprocessing: Preprocessing | str | None) -> dict[str, Any]:
    """Notes for a model file; none where the preprocessing is not known."""
    return {} if preprocessing is None else {KEY: _made(preprocessing).to_document()}


def _made(preprocessing: Preprocessing | str) -> Preprocessing:
    if isinstance(preprocessing, Preprocessing):
        return preprocessing
    return Preprocessing.parse(preprocessing)
