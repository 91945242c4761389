"""Runs: a grouping together with the split made of it."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from splitnet_tf.errors import RunError
from splitnet_tf.grouping import Grouping
from splitnet_tf.report.run_folder import GROUP, SPLIT, RunFolder, read_run_folder
from splitnet_tf.runs import base_places, may_be_base
from splitnet_tf.runs.names import CONFIG, GROUPED, GROUPING


@dataclasses.dataclass(frozen=True)
class Run:
    """Folders of one run.

    Attributes:
      number: int, number in the report, from 1.
      group, split: folders of the grouping and of the split; one of them may be None.
      notes: sentences on how the folders were put together.
    """

    number: int
    group: RunFolder | None
    split: RunFolder | None
    notes: tuple[str, ...] = ()

    @property
    def folders(self) -> list[RunFolder]:
        """Folders that are there, the split first."""
        return [folder for folder in (self.split, self.group) if folder]

    @property
    def path(self) -> Path:
        """Path that the run is named after."""
        return self.folders[0].path

    @property
    def label(self) -> str:
        """Names of the folder and of the folder it is in, to tell runs apart in a table."""
        return "/".join(self.path.resolve().parts[-2:])

    @property
    def plain(self) -> bool:
        """True for an ordinary training, of a model that is not split."""
        return self.split is None and self.group.plain

    @property
    def grouping(self) -> Grouping | None:
        """Groups of the split, or else of the grouping."""
        return next((f.grouping for f in self.folders if f.grouping), None)

    def setting(self, name: str):
        """Returns a setting of the grouping, or else of the split; None where neither has it."""
        return next((f.config[name] for f in self.folders[::-1] if name in f.config), None)

    def problem(self, file: str) -> str:
        """Returns the sentence on why a file of the run cannot be used, or ""."""
        return next((f.problems[file] for f in self.folders if file in f.problems), "")


def read_runs(paths: Sequence[str | Path]) -> list[Run]:
    """Reads run folders, and the groupings that splits among them were made of.

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
        if folder.kind == SPLIT:
            group, notes = _base_of(folder, folders)
            found.append((group, folder, notes))
    used = {id(group) for group, _, _ in found}
    found += [(f, None, ()) for f in folders.values() if f.kind == GROUP and id(f) not in used]
    order = {id(f): i for i, f in enumerate(folders.values())}
    found.sort(key=lambda parts: min(order.get(id(f), len(order)) for f in parts[:2] if f))
    return [Run(i + 1, *parts) for i, parts in enumerate(found)]


def _base_of(
    split: RunFolder, folders: dict[Path, RunFolder]
) -> tuple[RunFolder | None, tuple[str, ...]]:
    """Finds the grouping that a split was made of; returns it with notes."""
    base = split.config.get("basemodel")
    if not isinstance(base, str) or not base.isprintable():
        # Python hands over a model, not a folder; its digest tells.
        for path, folder in list(folders.items()) if "base_digest" in split.config else ():
            if folder.kind == GROUP and may_be_base(split.path, path / GROUPED):
                return folder, ()
        return None, ("The grouping that this split was made of is not known.",)
    file = Path(base) if base.endswith(".keras") else Path(base, GROUPED)
    places = [place.resolve() for place in base_places(split.path, file.parent)]
    # What is asked for comes before what else is on the disk: runs may have been copied.
    for place in [p for p in places if p in folders] + [p for p in places if _is_run_folder(p)]:
        here = place.relative_to(Path.cwd()) if place.is_relative_to(Path.cwd()) else place
        folder = folders.get(place) or read_run_folder(here)
        if folder.kind == GROUP and may_be_base(split.path, place / file.name):
            folders.setdefault(place, folder)
            return folder, tuple(_differences(split, folder, base))
    return None, (f"The grouping that this split was made of, {base}, is not there as it was.",)


def _is_run_folder(path: Path) -> bool:
    try:
        return (path / CONFIG).is_file()
    except OSError:  # a name that is too long, say
        return False


def _differences(split: RunFolder, group: RunFolder, base: str) -> Iterable[str]:
    if Path(base).resolve() not in (group.path.resolve(), (group.path / GROUPED).resolve()):
        yield f"The grouping is taken from {group.path}; the split was made of {base}."
    one, other = split.grouping, group.grouping
    if one and other:
        names = {s.name for s in one.spaces}
        same = names == {s.name for s in other.spaces} and all(
            np.array_equal(one.space(n).labels(), other.space(n).labels()) for n in names
        )
        if not same:
            yield f"The split has other groups than {group.path / GROUPING}; its own count."
