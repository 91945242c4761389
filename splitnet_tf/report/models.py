"""Models of a run, each loaded once, when it is first asked for."""

from __future__ import annotations

import dataclasses
import functools
import json
import zipfile
import zlib

import keras

from splitnet_tf.analysis import Cost, cost
from splitnet_tf.errors import RunError, SplitNetError
from splitnet_tf.grouping import SplitPlan
from splitnet_tf.report.run_folder import RunFolder
from splitnet_tf.report.runs import Run
from splitnet_tf.runs.names import FINISHED, TREES, UNSPLIT
from splitnet_tf.splitting import SplitTree
from splitnet_tf.storage.models import load_model

_MOST = 10_000  # most bytes of the metadata of a model file


class Models:
    """Unsplit model and tree of a run; both raise RunError where there is none."""

    def __init__(self, run: Run):
        self._run = run

    @functools.cached_property
    def whole(self) -> keras.Model:
        """Network before the cut."""
        if self._run.group is None:
            raise RunError("The folder of the grouping, which has the unsplit model, is not there.")
        path = self._run.group.path
        for name in UNSPLIT:
            if (path / name).is_file():
                return load_model(path / name)
        raise RunError(f"{path} has no model yet: the run has not come to its end.")

    @functools.cached_property
    def tree(self) -> SplitTree:
        """Tree after finetuning, or else right after the cut."""
        if self._run.split is None:
            raise RunError("The run has not been split yet; splitnet_tf.cli.split does it.")
        path = self._run.split.path
        for name in TREES:
            if (path / name).is_file():
                return SplitTree.load(path / name)
        raise RunError(f"{path} has no tree yet: the run has not come to its end.")


@dataclasses.dataclass(frozen=True)
class Counted:
    """Costs of a run.

    Attributes:
      before, after: costs of the unsplit model and of the tree; None where not known.
      nodes: name -> (params, flops) of each node of the tree.
      predicted: bool, the tree is not there and its costs are predicted from the grouping.
      problems: sentences, one for each thing that is missing.
    """

    before: Cost | None
    after: Cost | None
    nodes: dict[str, tuple[int, int]]
    predicted: bool
    problems: tuple[str, ...]


def count(run: Run, models: Models) -> Counted:
    """Counts the models of a run."""
    before = after = None
    nodes: dict[str, tuple[int, int]] = {}
    problems = []
    try:
        before = cost(models.whole)
    except SplitNetError as error:
        problems.append(str(error))
    if run.plain:
        return Counted(before, None, {}, False, tuple(problems))
    try:
        after = cost(models.tree.model)
        for node in models.tree.nodes():
            found = cost(node.model)
            nodes[node.name] = (found.params, found.flops)
        return Counted(before, after, nodes, False, tuple(problems))
    except SplitNetError as error:
        problems.append(str(error))
    if before and run.grouping:
        try:
            plan = SplitPlan.from_sections(models.whole, run.grouping.sections)
            after = cost(models.whole, plan, run.grouping)
            nodes = after.nodes
        except SplitNetError as error:
            problems.append(str(error))
    return Counted(before, after, nodes, after is not None, tuple(problems))


def saved_with(folder: RunFolder) -> str:
    """Writes the version of Keras that a folder's model was saved with, or ""."""
    names = (*TREES, *FINISHED)
    file = next((folder.path / n for n in names if (folder.path / n).is_file()), None)
    if file is None:
        return ""
    try:
        with zipfile.ZipFile(file) as archive:
            if archive.getinfo("metadata.json").file_size > _MOST:
                return ""
            found = json.loads(archive.read("metadata.json")).get("keras_version")
    except (
        OSError,
        ValueError,
        KeyError,
        AttributeError,
        RecursionError,
        zipfile.BadZipFile,
        zlib.error,
    ):
        return ""
    return f"{file} was saved with Keras {found}." if isinstance(found, str) else ""
