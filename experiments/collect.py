"""Collects the rows of finished runs into ``experiments/rows``, one JSON file a row.

Beside them lie whole comparisons, as ``splitnet-compare`` writes them, in ``comparison``.
"""

from __future__ import annotations

import logging
from pathlib import Path

from experiments.recipe import SCALES, recipe_document
from experiments.row import LEARNED, SETTINGS, folder_of, row_of
from experiments.variants import recipe_of
from splitnet_tf.errors import RunError
from splitnet_tf.storage.json_files import read_json, write_json

ROWS = Path(__file__).with_name("rows")
TABLE5 = "table5"
CIFAR100 = "b15ad61ba8daf8dd"  # ``Dataset.digest``
PUBLISHED = [scale for scale in SCALES if scale != "smoke"]  # its numbers mean nothing
OF_TABLE5 = [*PUBLISHED, "small-bfloat16"]


def collect(runs: Path, rows: Path = ROWS) -> list[Path]:
    """Copies what is new or changed; returns the files written.

    The folder of a row is ``<runs>/<scale>/<row>``. Rows that are not finished are left out;
    so are rows of other recipes than today's or of other data than CIFAR-100, and copies of
    folders, with a warning.

    Raises:
      RunError: a file is damaged.
    """
    written = []
    for scale in OF_TABLE5:
        folders = runs / scale
        for path in sorted([*folders.glob("*/row.json"), *folders.glob(f"*/{TABLE5}.json")]):
            document = _read(path)
            wrong = path.name == "row.json" and _wrong(document, path.parent.name)
            if wrong:
                logging.warning("%s is left out: %s.", path, wrong)
                continue
            target = rows / scale / f"{path.parent.name}.json"
            if not target.exists() or _read(target) != document:
                write_json(target, document)
                written.append(target)
    return written


def _wrong(document: dict, folder: str) -> str:
    """The reason why a row of a folder is not collected, or nothing."""
    if not is_of_today(document):
        return "of another recipe or other data"
    settings = {key: document[key] for key in SETTINGS}
    right = folder_of(row_of(document["row"]).name, settings, Path()).name
    return "" if folder == right else "its folder was renamed or copied"


def _read(path: Path) -> dict:
    try:
        return read_json(path)
    except ValueError as error:
        raise RunError(f"{path} cannot be read: {error}; remove it or make it again.") from None


def is_of_today(document: dict) -> bool:
    """True for rows of today's recipe and of CIFAR-100, whatever the name of its file."""
    row = document["row"]
    recipe = recipe_of(row["scale"], row["variant"]) if row.items() >= LEARNED.items() else None
    known = recipe is not None and document["recipe"] == recipe_document(recipe)
    return known and document["data_digest"] == CIFAR100


def read_rows(rows: Path = ROWS) -> dict[str, list[dict]]:
    """The rows of every scale that has any, without Table 5's, of today's recipes alone."""
    found = {}
    for scale in PUBLISHED:
        for path in sorted((rows / scale).glob("*-*.json")):
            document = _read(path)
            if is_of_today(document):
                found.setdefault(scale, []).append(document)
            else:
                logging.warning("%s is left out: of an older recipe; delete it.", path)
    return found


def read_table5(rows: Path = ROWS) -> dict[str, dict]:
    """Table 5 of every scale that has it."""
    paths = {scale: rows / scale / f"{TABLE5}.json" for scale in OF_TABLE5}
    return {scale: _read(path) for scale, path in paths.items() if path.exists()}


def read_comparisons(rows: Path = ROWS) -> list[dict]:
    """Comparisons by ``splitnet-compare``."""
    return [_read(path) for path in sorted((rows / "comparison").glob("*.json"))]
