"""Collects the rows of finished runs into ``experiments/rows``, one JSON file a row.

Beside them lie whole comparisons, as ``splitnet-compare`` writes them, in ``comparison``.
"""

from __future__ import annotations

from pathlib import Path

from experiments.recipe import SCALES
from splitnet_tf.json_files import read_json, write_json

ROWS = Path(__file__).with_name("rows")
TABLE5 = "table5"


def collect(runs: Path, rows: Path = ROWS) -> list[Path]:
    """Copies what is new or changed; returns the files written.

    A run's folder is ``<runs>/<scale>/<row>``; what is not finished there is left out.
    """
    written = []
    for scale in SCALES:
        for path in sorted((runs / scale).glob("*/*.json")):
            if path.name not in ("row.json", f"{TABLE5}.json"):
                continue
            target = rows / scale / f"{path.parent.name}.json"
            document = read_json(path)
            if not target.exists() or read_json(target) != document:
                write_json(target, document)
                written.append(target)
    return written


def read_rows(rows: Path = ROWS) -> dict[str, list[dict]]:
    """The rows of every scale that has any, without Table 5's."""
    found = {}
    for scale in SCALES:
        paths = sorted((rows / scale).glob("*.json"))
        documents = [read_json(p) for p in paths if p.stem != TABLE5]
        if documents:
            found[scale] = documents
    return found


def read_table5(rows: Path = ROWS) -> dict[str, dict]:
    """Table 5 of every scale that has it."""
    paths = {scale: rows / scale / f"{TABLE5}.json" for scale in SCALES}
    return {scale: read_json(path) for scale, path in paths.items() if path.exists()}


def read_comparisons(rows: Path = ROWS) -> list[dict]:
    """What ``splitnet-compare`` found."""
    return [read_json(path) for path in sorted((rows / "comparison").glob("*.json"))]
