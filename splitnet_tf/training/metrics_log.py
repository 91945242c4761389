"""Metrics as JSON lines and TensorBoard scalars, each step once whatever was killed."""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import shutil
from typing import Any

import tensorflow as tf

from splitnet_tf.errors import RunError
from splitnet_tf.files import write_atomically
from splitnet_tf.training.run_directory import RunDirectory


class MetricsLog:
    """Writes ``metrics.jsonl``, ``timing.jsonl`` and TensorBoard events.

    A repeated run repeats the first to the byte; what it cannot repeat is in the second.

    Args:
      run: the run's folder.
      length: bytes of ``metrics.jsonl`` that belong to the checkpoint resumed from; what lies
        beyond is cut off, and the TensorBoard events are written anew from what remains.
      step: of that checkpoint; timings of later steps are cut off too.
      digest: of those bytes, as ``digest()`` gave it; None: not checked.

    Raises:
      RunError: a log cannot be written.
    """

    def __init__(
        self, run: RunDirectory, length: int = 0, step: int = 0, digest: str | None = None
    ):
        self._run = run
        try:
            self._open(length, step, digest)
        except OSError as error:
            raise self._failure(error) from None

    def _open(self, length: int, step: int, digest: str | None) -> None:
        run = self._run
        run.metrics.touch()
        run.timing.touch()
        content = run.metrics.read_bytes()[:length]
        whole = len(content) == length and digest in (None, _digest(content))
        metrics = _read_lines(content)
        timings = [
            (line, entry)
            for line, entry in _read_lines(run.timing.read_bytes())
            if entry["step"] <= step
        ]
        if not whole or b"".join(line for line, _ in metrics) != content:
            logging.warning(
                "%s is damaged; its %d readable lines are kept.", run.metrics, len(metrics)
            )
        self._hash = hashlib.sha256()
        for path, entries in ((run.metrics, metrics), (run.timing, timings)):
            write_atomically(path, b"".join(line for line, _ in entries))
        shutil.rmtree(run.tensorboard, ignore_errors=True)
        self._writer = tf.summary.create_file_writer(str(run.tensorboard))
        self._metrics = open(run.metrics, "a", encoding="utf-8")  # noqa: SIM115
        self._timing = open(run.timing, "a", encoding="utf-8")  # noqa: SIM115
        for line, entry in metrics:
            self._hash.update(line)
            self._to_tensorboard(entry)
        for _, entry in timings:
            self._to_tensorboard(entry, "timing/")

    @property
    def writer(self) -> tf.summary.SummaryWriter:
        """For summaries other than scalars."""
        return self._writer

    def write(self, step: int, values: dict[str, Any], timing: dict[str, float] | None = None):
        """Logs the values of a step; numbers become TensorBoard scalars by the same names.

        Raises:
          RunError: a full disk or the like.
        """
        entry = {"step": step, **values}
        self._append(self._metrics, entry, self._hash)
        self._to_tensorboard(entry)
        if timing:
            entry = {"step": step, **timing}
            self._append(self._timing, entry)
            self._to_tensorboard(entry, "timing/")

    def _append(self, file, entry, digest=None) -> None:
        line = json.dumps(entry) + "\n"
        try:
            file.write(line)
            file.flush()
        except OSError as error:
            raise self._failure(error) from None
        if digest is not None:
            digest.update(line.encode())

    def _failure(self, error: OSError) -> RunError:
        return RunError(
            f"The logs in {self._run.path} cannot be written: {error.strerror}; checkpoints are "
            "intact. Free space or permissions, then run the same command again."
        )

    def _to_tensorboard(self, entry: dict[str, Any], prefix: str = "") -> None:
        with self._writer.as_default(step=entry["step"]):
            for name, value in entry.items():
                if name != "step" and isinstance(value, (int, float)):
                    tf.summary.scalar(prefix + name, value)

    def length(self) -> int:
        """Bytes of ``metrics.jsonl`` so far."""
        self._metrics.flush()
        return self._run.metrics.stat().st_size

    def digest(self) -> str:
        """Of the bytes of ``metrics.jsonl`` so far."""
        return self._hash.hexdigest()

    def close(self) -> None:
        # After a failed write a file still holds what did not fit, and says so again.
        for file in (self._metrics, self._timing):
            with contextlib.suppress(OSError):
                file.close()
        self._writer.close()


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _read_lines(content: bytes) -> list[tuple[bytes, dict[str, Any]]]:
    """The lines that are whole and are JSON objects with a step, as bytes and as read."""
    found = []
    for line in content.splitlines(keepends=True):
        try:
            entry = json.loads(line)
        except (ValueError, RecursionError):
            continue
        if line.endswith(b"\n") and isinstance(entry, dict) and _is_step(entry.get("step")):
            found.append((line, entry))
    return found


def _is_step(value: Any) -> bool:
    return isinstance(value, int) and 0 <= value < 2**63
