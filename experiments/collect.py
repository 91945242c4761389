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


def collect(runs: Path, rows: Path = ROWS) -> list[Path]:
    """Copies what is new or changed; returns the files written.

    A run's folder is ``<runs>/<scale>/<row>``. What is not finished there is left out, and so are
    rows of other recipes than today's or of other data than CIFAR-100, and copies of folders, with
    a warning.

    Raises:
      RunError: a file is damaged.
    """
    written = []
    for scale in PUBLISHED:
        for path in sorted((runs / scale).glob("*/*.json")):
            if path.name not in ("row.json", f"{TABLE5}.json"):
                continue
            target = rows / scale / f"{path.parent.name}.json"
            document = _read(path)
            if path.name == "row.json" and not is_of_today(document):
                logging.warning("%s is left out: of another recipe or other data.", path)
                continue
            if path.name == "row.json" and path.parent.name != _folder_name(document):
                logging.warning("%s is left out: its folder was renamed or copied.", path)
                continue
            if not target.exists() or _read(target) != document:
                write_json(target, document)
                written.append(target)
    return written


def _read(path: Path) -> dict:
    try:
        return read_json(path)
    except ValueError as error:
        raise RunError(f"{path} cannot be read: {error}; remove it or make it again.") from None


def _folder_name(document: dict) -> str:
    name = row_of(document["row"]).name
    return folder_of(name, {key: document[key] for key in SETTINGS}, Path()).name


def is_of_today(document: dict) -> bool:
    """Whether a row is of today's recipe, and of CIFAR-100."""
    row = document["row"]
    recipe = recipe_of(row["scale"], row["variant"])
    return (
        recipe is not None
        and row.items() >= LEARNED.items()
        and document["recipe"] == recipe_document(recipe)
        and document["data_digest"] == CIFAR100  # whatever the name of its file
    )


def read_rows(rows: Path = ROWS) -> dict[str, list[dict]]:
    """The rows of every scale that has any, without Table 5's, of today's recipes alone."""
    found = {}
    for scale in PUBLISHED:
        paths = sorted((rows / scale).glob("*.json"))
        documents = []
        for path in (p for p in paths if p.stem != TABLE5):
            document = _read(path)
            if is_of_today(document):
                documents.append(document)
            else:
                logging.warning("%s is left out: of an older recipe; delete it.", path)
        if documents:
            found[scale] = documents
    return found


def read_table5(rows: Path = ROWS) -> dict[str, dict]:
    """Table 5 of every scale that has it."""
    paths = {scale: rows / scale / f"{TABLE5}.json" for scale in PUBLISHED}
    return {scale: _read(path) for scale, path in paths.items() if path.exists()}


def read_comparisons(rows: Path = ROWS) -> list[dict]:
    """What ``splitnet-compare`` found."""
    return [_read(path) for path in sorted((rows / "comparison").glob("*.json"))]
