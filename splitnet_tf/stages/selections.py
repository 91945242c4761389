"""Selections that a shrink starts from: of a run's zeros, of a file, by norms or at random."""

from __future__ import annotations

from pathlib import Path

import keras

from splitnet_tf.data import Dataset
from splitnet_tf.errors import ArgumentError
from splitnet_tf.runs.names import WHOLE
from splitnet_tf.sparsity import (
    Selection,
    random_like,
    random_selection,
    read_selection,
    select_by_norms,
)
from splitnet_tf.stages.networks import check_fits
from splitnet_tf.stages.run_files import named_model

METHODS = ("zeros", "norms", "random")


def whole_model(base: str | Path, dataset: Dataset) -> keras.Model:
    """The model that a shrink starts from, of a file that fits the data.

    Args:
      base: run folder of a sparse or plain training, or a ``.keras`` file.
      dataset: the data that the smaller model will be trained on.

    Raises:
      RunError: a file that is not there, or of other data.
    """
    model = named_model("base", base, WHOLE)
    check_fits(f"`base={base}`", model, dataset)
    return model


def choose_selection(
    model: keras.Model,
    method: str = "zeros",
    *,
    selection: str | Path | None = None,
    structure: str = "spaces",
    keep: float | None = None,
    threshold: float | None = None,
    seed: int = 0,
) -> Selection:
    """A selection of a model by one of several methods.

    Args:
      model: functional ``keras.Model``.
      method: ``"zeros"``, all that exact zeros allow; ``"norms"``, the largest groups; or
        ``"random"`` channels.
      selection: file whose selection is taken; with ``"random"`` as many channels of each space as
        it keeps are taken. Defaults to none.
      structure, keep, threshold: see ``select_by_norms``; ``keep`` also serves ``"random"``.
      seed: int, seed of ``"random"``.

    Raises:
      ArgumentError: an argument that a method needs, or that has no effect.
      SelectionError: a file that is not a selection of this model.
    """
    if method not in METHODS:
        raise ArgumentError(f"`method` must be one of {', '.join(METHODS)}; got {method!r}.")
    given = {"selection": selection, "keep": keep, "threshold": threshold}
    taken = {
        "zeros": ("selection",),
        "norms": ("keep", "threshold"),
        "random": ("keep", "selection"),
    }
    for name, value in given.items():
        if value is not None and name not in taken[method]:
            raise ArgumentError(f"`{name}` has no effect with `method={method}`; leave it out.")
    if structure != "spaces" and method != "norms":
        raise ArgumentError(f"`structure` has no effect with `method={method}`; leave it out.")
    chosen = [name for name in taken[method] if given[name] is not None]
    if method == "zeros":
        return read_selection(model) if selection is None else Selection.load(selection)
    if len(chosen) != 1:
        raise ArgumentError(
            f"`method={method}` needs {' or '.join(f'`{n}`' for n in taken[method])}, one of them."
        )
    if method == "norms":
        return select_by_norms(model, structure, threshold, keep)
    if selection is not None:
        return random_like(model, Selection.load(selection), seed)
    return random_selection(model, keep, seed)
