"""A run folder's files, read as far as they are there and whole."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

from splitnet_tf.errors import GroupingError, RunError
from splitnet_tf.grouping import Grouping
from splitnet_tf.runs import (
    GroupResult,
    ShrinkResult,
    SparseResult,
    SplitResult,
    is_shrink,
    read_config,
)
from splitnet_tf.runs.json_lines import read_lines
from splitnet_tf.runs.names import (
    CHANGES,
    CONFIG,
    EVALUATION,
    GROUPING,
    METRICS,
    PLAIN,
    RESULT,
    SPARSE,
    TIMING,
    TREES,
)
from splitnet_tf.runs.results import Result
from splitnet_tf.storage.json_files import MAX_BYTES, read_json

MOST = 1e100  # largest number that is drawn
GROUP, SPLIT, SPARSIFY, SHRINK = "group", "split", "sparsify", "shrink"
RESULTS = {GROUP: GroupResult, SPLIT: SplitResult, SPARSIFY: SparseResult, SHRINK: ShrinkResult}


@dataclasses.dataclass(frozen=True)
class RunFolder:
    """Folder of a grouping, a split, a sparse training or a shrink.

    Attributes:
      path: path of the folder.
      kind: ``group`` (or a plain training), ``split``, ``sparsify`` or ``shrink``.
      config, evaluation: JSON documents; empty where the file is missing or damaged.
      result: the end of the run; None where the file is missing or damaged.
      metrics, timing: entries of the logs, each with an integer ``step``.
      grouping: the groups, or None.
      changes: layer by layer what a shrink changes; empty where the file is missing or damaged.
      problems: file name -> sentence that says why it is missing, damaged or shortened.
    """

    path: Path
    kind: str
    config: dict[str, Any]
    result: Result | None
    evaluation: dict[str, Any]
    metrics: tuple[dict[str, Any], ...]
    timing: tuple[dict[str, Any], ...]
    grouping: Grouping | None
    changes: dict[str, Any]
    problems: dict[str, str]

    @property
    def plain(self) -> bool:
        """True for an ordinary training, without groups."""
        if (self.path / PLAIN).is_file():
            return self.kind == GROUP
        logged = any(key.startswith("largest_p/") for entry in self.metrics for key in entry)
        return self.kind == GROUP and bool(self.metrics) and not logged and not self.grouping


def read_run_folder(path: str | Path) -> RunFolder:
    """Reads a run folder.

    Raises:
      RunError: it is not a run folder.
    """
    path = Path(path)
    if not (path / CONFIG).is_file():
        raise RunError(f"{path} is not a run folder: it has no {CONFIG}.")
    problems: dict[str, str] = {}
    try:
        config = read_config(path)
    except RunError as error:
        config, problems[CONFIG] = {}, str(error)
    kind = _kind(path, config)
    return RunFolder(
        path,
        kind,
        config,
        _result(path, RESULTS[kind], problems),
        _evaluation(path / EVALUATION, problems),
        _lines(path / METRICS, problems),
        _lines(path / TIMING, problems),
        _grouping(path / GROUPING, problems) if kind in (GROUP, SPLIT) else None,
        _changes(path / CHANGES, problems) if kind in (SPARSIFY, SHRINK) else {},
        problems,
    )


def _kind(path: Path, config: dict[str, Any]) -> str:
    """The kind of a folder, by its models or, before there are any, by its settings."""
    if any((path / name).is_file() for name in TREES) or "recalibrate_batches" in config:
        return SPLIT
    if is_shrink(path) or "gather" in config:
        return SHRINK
    return SPARSIFY if (path / SPARSE).is_file() or "target_flops" in config else GROUP


def _result(path: Path, kind: type, problems: dict[str, str]) -> Result | None:
    try:
        return kind.read(path)
    except FileNotFoundError:
        problems[RESULT] = f"{path / RESULT} is not there: the run has not come to its end."
    except RunError as error:
        problems[RESULT] = str(error)
    return None


def _evaluation(file: Path, problems: dict[str, str]) -> dict[str, Any]:
    """Reads the document if it is of the test images, as everything else in the report is."""
    try:
        found = read_json(file)
    except FileNotFoundError:
        problems[file.name] = f"{file} is not there: the run has not been evaluated."
        return {}
    except ValueError as error:
        problems[file.name] = f"{file}: {error}."
        return {}
    images = found.get("images", "test")
    if images == "test":
        return found
    problems[file.name] = f"{file} is of {str(images)[:40]} images, not of the test images."
    return {}


def _lines(file: Path, problems: dict[str, str]) -> tuple[dict[str, Any], ...]:
    try:
        if file.stat().st_size > MAX_BYTES:
            problems[file.name] = f"{file} is larger than {MAX_BYTES // 2**20} MiB; it is not read."
            return ()
        content = file.read_bytes()
    except FileNotFoundError:
        problems[file.name] = f"{file} is not there: the run has not logged anything yet."
        return ()
    except OSError as error:
        problems[file.name] = f"{file} cannot be read: {error.strerror}."
        return ()
    entries = tuple(entry for _, entry in read_lines(content))
    damaged = len(content.splitlines()) - len(entries)
    if damaged:
        problems[file.name] = (
            f"{file} has {damaged} damaged lines, which are left out; {len(entries)} are readable."
        )
    elif not entries:
        problems[file.name] = f"{file} is empty: the run has not logged anything yet."
    return entries


def _grouping(file: Path, problems: dict[str, str]) -> Grouping | None:
    if not file.is_file():
        problems[file.name] = f"{file} is not there: the run has not ended, or learned no groups."
        return None
    try:
        return Grouping.load(file)
    except GroupingError as error:
        problems[file.name] = str(error)
        return None


def _changes(file: Path, problems: dict[str, str]) -> dict[str, Any]:
    try:
        return read_json(file)
    except FileNotFoundError:
        problems[file.name] = f"{file} is not there: the run has not come to its end."
    except ValueError as error:
        problems[file.name] = f"{file}: {error}."
    return {}


def number(document: Any, *keys: str) -> float | None:
    """Returns the number under nested keys of a document, or None for one that cannot be drawn."""
    for key in keys:
        document = document.get(key) if isinstance(document, dict) else None
    if isinstance(document, bool) or not isinstance(document, (int, float)):
        return None
    return float(document) if -MOST < document < MOST else None  # nan is neither
