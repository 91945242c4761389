"""Runs: a grouping together with the split made of it, sparse training with its shrink."""

from __future__ import annotations

import abc
import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import ClassVar

import numpy as np

from splitnet_tf.errors import RunError
from splitnet_tf.grouping import Grouping
from splitnet_tf.report.run_folder import (
    GROUP,
    SHRINK,
    SPARSIFY,
    SPLIT,
    RunFolder,
    read_run_folder,
)
from splitnet_tf.runs import base_places, may_be_base
from splitnet_tf.runs.names import CONFIG, GROUPED, GROUPING, SHRINK_STAGES, STAGES, WHOLE

# Kind of a folder to the kinds that it is made of, its files there, and words for both.
BASES = {
    SPLIT: ((GROUP,), (GROUPED,), "grouping", "split"),
    SHRINK: ((SPARSIFY, GROUP), WHOLE, "training", "shrink"),
}


class _OfFolders(abc.ABC):
    """Base: what can be said of a run by its folders.

    Attributes:
      stages: stage at which the accuracy is measured -> its words, see ``runs.names``.
      evaluated: names in ``evaluation.json`` of the models before and after.
    """

    stages: ClassVar[Mapping[str, str]]
    evaluated: ClassVar[tuple[str, str]]

    @property
    @abc.abstractmethod
    def earlier(self) -> RunFolder | None:
        """Folder of the training before the cut or the shrink."""

    @property
    @abc.abstractmethod
    def later(self) -> RunFolder | None:
        """Folder of the cut or the shrink."""

    @property
    def folders(self) -> list[RunFolder]:
        """Folders that are there, the later first."""
        return [folder for folder in (self.later, self.earlier) if folder]

    @property
    def path(self) -> Path:
        """Path that the run is named after."""
        return self.folders[0].path

    @property
    def label(self) -> str:
        """Names of the folder and of the folder it is in, to tell runs apart in a table."""
        return "/".join(self.path.resolve().parts[-2:])

    @property
    def grouping(self) -> Grouping | None:
        """Groups of the split, or else of the grouping."""
        return next((f.grouping for f in self.folders if f.grouping), None)

    def setting(self, name: str):
        """Returns a setting of the earlier folder, or else of the later; None in neither."""
        return next((f.config[name] for f in self.folders[::-1] if name in f.config), None)

    def problem(self, file: str) -> str:
        """Returns the sentence on why a file of the run cannot be used, or ""."""
        return next((f.problems[file] for f in self.folders if file in f.problems), "")


@dataclasses.dataclass(frozen=True)
class Run(_OfFolders):
    """Folders of one run of SplitNet, or of a plain training.

    Attributes:
      number: int, number in the report, from 1.
      group, split: folders of the grouping and of the split; one of them may be None.
      notes: sentences on how the folders were put together.
    """

    number: int
    group: RunFolder | None
    split: RunFolder | None
    notes: tuple[str, ...] = ()

    stages = STAGES
    evaluated = ("unsplit", "split")

    @property
    def earlier(self) -> RunFolder | None:
        return self.group

    @property
    def later(self) -> RunFolder | None:
        return self.split

    @property
    def plain(self) -> bool:
        """True for an ordinary training, of a model that is not split."""
        return self.split is None and self.group.plain


@dataclasses.dataclass(frozen=True)
class SparseRun(_OfFolders):
    """Folders of one run of structured sparsity.

    Attributes:
      number: int, number in the report, from 1.
      trained, shrink: folders of the sparse (or plain) training and of the shrink; one may be None.
      notes: sentences on how the folders were put together.
    """

    number: int
    trained: RunFolder | None
    shrink: RunFolder | None
    notes: tuple[str, ...] = ()

    stages = SHRINK_STAGES
    evaluated = ("whole", "shrunk")

    @property
    def earlier(self) -> RunFolder | None:
        return self.trained

    @property
    def later(self) -> RunFolder | None:
        return self.shrink


def read_runs(paths: Sequence[str | Path]) -> list[Run | SparseRun]:
    """Reads run folders, and what splits and shrinks among them were made of.

    Raises:
      RunError: one of the paths is not a run folder, or none is given.
    """
    if not paths:
        raise RunError("A report needs one run folder or more; got none.")
    folders: dict[Path, RunFolder] = {}
    for path in paths:
        folders.setdefault(Path(path).resolve(), read_run_folder(path))
    found = []
    for folder in list(folders.values()):
        if folder.kind in BASES:
            base, notes = _base_of(folder, folders)
            found.append((base, folder, notes))
    used = {id(base) for base, _, _ in found}
    found += [(f, None, ()) for f in folders.values() if f.kind not in BASES and id(f) not in used]
    order = {id(f): i for i, f in enumerate(folders.values())}
    found.sort(key=lambda parts: min(order.get(id(f), len(order)) for f in parts[:2] if f))
    return [
        (SparseRun if (parts[1] or parts[0]).kind in (SHRINK, SPARSIFY) else Run)(i + 1, *parts)
        for i, parts in enumerate(found)
    ]


def _base_of(
    made: RunFolder, folders: dict[Path, RunFolder]
) -> tuple[RunFolder | None, tuple[str, ...]]:
    """Finds what a split or a shrink was made of; returns it with notes."""
    kinds, names, what, word = BASES[made.kind]
    base = made.config.get("basemodel")
    if not isinstance(base, str) or not base.isprintable():
        # Python hands over a model, not a folder; its digest tells.
        for path, folder in list(folders.items()) if "base_digest" in made.config else ():
            if folder.kind in kinds and _of_base(made, path, names):
                return folder, ()
        return None, (f"The {what} that this {word} was made of is not known.",)
    file = Path(base)
    if file.suffix == ".keras":
        names, file = (file.name,), file.parent
    places = [place.resolve() for place in base_places(made.path, file)]
    # What is asked for comes before what else is on the disk: runs may have been copied.
    for place in [p for p in places if p in folders] + [p for p in places if _is_run_folder(p)]:
        here = place.relative_to(Path.cwd()) if place.is_relative_to(Path.cwd()) else place
        folder = folders.get(place) or read_run_folder(here)
        if folder.kind in kinds and _of_base(made, place, names):
            folders.setdefault(place, folder)
            return folder, tuple(_differences(made, folder, base))
    return None, (f"The {what} that this {word} was made of, {base}, is not there as it was.",)


def _of_base(made: RunFolder, path: Path, names: Sequence[str]) -> bool:
    """True when a folder may hold what a split or a shrink was made of."""
    file = next((path / name for name in names if (path / name).is_file()), path / names[-1])
    return may_be_base(made.path, file)


def _is_run_folder(path: Path) -> bool:
    try:
        return (path / CONFIG).is_file()
    except OSError:  # a name that is too long, say
        return False


def _differences(made: RunFolder, base: RunFolder, given: str) -> Iterable[str]:
    files = (base.path / name for name in BASES[made.kind][1])
    if Path(given).resolve() not in {path.resolve() for path in (base.path, *files)}:
        _, _, what, word = BASES[made.kind]
        yield f"The {what} is taken from {base.path}; the {word} was made of {given}."
    one, other = made.grouping, base.grouping
    if one and other:
        names = {s.name for s in one.spaces}
        same = names == {s.name for s in other.spaces} and all(
            np.array_equal(one.space(n).labels(), other.space(n).labels()) for n in names
        )
        if not same:
            yield f"The split has other groups than {base.path / GROUPING}; its own count."
