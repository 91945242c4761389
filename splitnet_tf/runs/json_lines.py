"""A log of JSON objects, one a line, that knows how much of it belongs to a checkpoint."""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
from pathlib import Path
from typing import Any

from splitnet_tf.storage.atomic import write_atomically


class JsonLines:
    """Appends entries with a ``step`` to a file.

    Args:
      path: file of the log.
      mark: returned by ``mark()`` when the checkpoint resumed from was written; the rest of the
        file is cut off. Defaults to None: the log begins anew.
      step: int, step of that checkpoint. After damage, lines of later steps may lie before the
        mark. Defaults to 0.

    Attributes:
      entries: entries that were kept of the file.

    Raises:
      OSError: the file cannot be written.
    """

    def __init__(self, path: Path, mark: tuple[int, str] | None = None, step: int = 0):
        self.path = path
        length, digest = mark or (0, _digest(b""))
        content = path.read_bytes()[:length] if path.exists() else b""
        kept = [(line, entry) for line, entry in read_lines(content) if entry["step"] <= step]
        lines = b"".join(line for line, _ in kept)
        if _digest(content) != digest or lines != content:
            logging.warning("%s is damaged; its %d readable lines are kept.", path, len(kept))
        write_atomically(path, lines)
        self.entries = [entry for _, entry in kept]
        self._hash = hashlib.sha256(lines)
        self._length = len(lines)
        self._file = open(path, "ab")  # noqa: SIM115

    def append(self, entry: dict[str, Any]) -> None:
        """Writes one entry."""
        line = json.dumps(entry).encode() + b"\n"
        self._file.write(line)
        self._file.flush()
        self._hash.update(line)
        self._length += len(line)

    def mark(self) -> tuple[int, str]:
        """Returns the number of bytes so far and their digest."""
        return self._length, self._hash.hexdigest()

    def close(self) -> None:
        """Closes the file."""
        # After a failed write the file still holds what did not fit, and says so again.
        with contextlib.suppress(OSError):
            self._file.close()


def read_lines(content: bytes) -> list[tuple[bytes, dict[str, Any]]]:
    """Finds the lines that are whole and are JSON objects with a step, as bytes and as read."""
    found = []
    for line in content.splitlines(keepends=True):
        try:
            entry = json.loads(line)
        except (ValueError, RecursionError):
            continue
        if line.endswith(b"\n") and isinstance(entry, dict) and _is_step(entry.get("step")):
            found.append((line, entry))
    return found


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _is_step(value: Any) -> bool:
    return isinstance(value, int) and 0 <= value < 2**63
