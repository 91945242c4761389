"""Model files of run folders, by the kind of run that an argument takes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import keras

from splitnet_tf.errors import RunError
from splitnet_tf.runs.names import FINISHED, GROUPED, PLAIN, SMALL, SPARSE, TREE
from splitnet_tf.stages.networks import check_run_folder
from splitnet_tf.storage.models import load_model

# Model file -> the run that wrote it, and how it comes about.
_KINDS = {
    GROUPED: ("a grouping", "group first, with group.sh say"),
    TREE: ("a split", "split first, with split.sh say"),
    SPARSE: ("a sparse training", "train it first, with splitnet-sparsify say"),
    PLAIN: ("a plain training", "train the plain model first, with `splits=1-1-1` say"),
    SMALL: ("a shrink", ""),
}


def folder_of(path: str | Path) -> Path:
    """The folder that a path names, or that a file lies in."""
    path = Path(path)
    return path if path.is_dir() else path.parent


def model_file(argument: str, path: str | Path, names: Sequence[str] = FINISHED) -> Path:
    """The model of a run folder that an argument names, or the file itself.

    Args:
      argument: string, name of the argument.
      path: value of the argument.
      names: model files that the argument takes, the first that is there first. Defaults to that
        of any run.

    Raises:
      RunError: the folder is missing, is that of another kind of run, or its program has not come
        to its end.
    """
    path = Path(path)
    kinds = [_KINDS[name] for name in names]
    first = next((words for _, words in kinds if words), None)
    if first is None or len(names) == len(FINISHED):
        first = "make it first"
    check_run_folder(argument, path, first)
    if path.suffix == ".keras" and not path.exists():
        raise RunError(f"Model file `{argument}={path}` does not exist; give another one.")
    if not path.is_dir():
        return path
    file = next((path / name for name in names if (path / name).is_file()), None)
    if file is not None:
        return file
    other = next((words for n, (words, _) in _KINDS.items() if (path / n).is_file()), None)
    if other is not None:
        raise RunError(
            f"Run folder `{argument}={path}` is that of {other}; give the folder of "
            f"{' or '.join(kind for kind, _ in kinds)}."
        )
    raise RunError(f"Run folder {path} holds no finished model; run its program to the end.")


def named_model(argument: str, path: str | Path, names: Sequence[str] = FINISHED) -> keras.Model:
    """The model of a run folder or file that an argument names.

    Args:
      argument, path, names: see ``model_file``.

    Raises:
      RunError: see ``model_file`` and ``load_model``; the sentence names the argument.
    """
    file = model_file(argument, path, names)
    try:
        return load_model(file)
    except RunError as error:
        raise RunError(f"`{argument}={path}`: {error}") from None
