"""JSON files that carry their own checksum, so that one changed byte is noticed."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from splitnet_tf.storage.atomic import write_atomically

CHECKSUM = "sha256"
MAX_BYTES = 64 * 1024 * 1024


def checksum(document: dict[str, Any]) -> str:
    """Returns the first 16 digits of the SHA-256 of a document's content, whatever its layout."""
    content = {key: value for key, value in document.items() if key != CHECKSUM}
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]


def write_json(path: str | Path, document: dict[str, Any]) -> None:
    """Writes a document and its checksum, beside and renamed.

    Args:
      path: file to write.
      document: JSON-serializable, with string keys; without the key ``sha256``.

    Raises:
      OSError: it cannot be written.
    """
    document = json.loads(json.dumps(document))
    signed = {**document, CHECKSUM: checksum(document)}
    write_atomically(path, (json.dumps(signed, indent=2) + "\n").encode())


def parse_json(text: str) -> dict[str, Any]:
    """Parses a document; its checksum, if it has one, is compared and left out.

    A text without a checksum, such as one written by hand, is taken as it is.

    Raises:
      ValueError: not a JSON object, nested too deeply, or changed since it was written.
    """
    try:
        document = json.loads(text)
        found = document.pop(CHECKSUM, None) if isinstance(document, dict) else None
        changed = found is not None and found != checksum(document)
    except RecursionError:
        raise ValueError("not valid JSON (nested too deeply)") from None
    except ValueError as error:
        raise ValueError(f"not valid JSON ({error})") from None
    if not isinstance(document, dict):
        raise ValueError("it must hold a JSON object")
    if changed:
        raise ValueError(
            f"it was changed after it was written; if that was on purpose, remove its '{CHECKSUM}'"
        )
    return document


def read_json(path: str | Path) -> dict[str, Any]:
    """Reads the document of a file, see ``parse_json``.

    Raises:
      FileNotFoundError: there is no such file.
      ValueError: see ``parse_json``; or it is too large or cannot be read.
    """
    path = Path(path)
    try:
        size = path.stat().st_size
        if size > MAX_BYTES:
            raise ValueError(f"it is larger than {MAX_BYTES // 2**20} MiB")
        content = path.read_bytes()
    except FileNotFoundError:
        raise
    except OSError as error:
        raise ValueError(f"it cannot be read: {error.strerror}") from None
    try:
        return parse_json(content.decode("utf-8"))
    except UnicodeDecodeError:
        raise ValueError("not UTF-8 text") from None
