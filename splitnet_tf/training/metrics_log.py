"""Metrics as JSON lines and TensorBoard events, each step once whatever was killed."""

from __future__ import annotations

import errno
import os
import shutil
from typing import Any

import tensorflow as tf

from splitnet_tf.errors import RunError
from splitnet_tf.runs.json_lines import JsonLines
from splitnet_tf.runs.run_folder import RunDirectory
from splitnet_tf.training.event_files import event_sizes, keep_events, whole_records

_EVENTS = "events"


class MetricsLog:
    """Writes ``metrics.jsonl``, ``timing.jsonl`` and TensorBoard events.

    A repeated run repeats the first to the byte; what it cannot repeat is in the second.

    Args:
      run: the run's folder.
      marks: what ``marks()`` said when the checkpoint resumed from was written; what came later is
        cut off. None: the logs begin anew.
      step: of that checkpoint.

    Raises:
      RunError: a log cannot be written.
    """

    def __init__(self, run: RunDirectory, marks: dict[str, Any] | None = None, step: int = 0):
        self._run = run
        try:
            if marks is None:
                shutil.rmtree(run.tensorboard, ignore_errors=True)
            else:
                keep_events(run.tensorboard, step, marks[_EVENTS])
            self._metrics, self._timing = (
                JsonLines(path, (marks or {}).get(path.name), step)
                for path in (run.metrics, run.timing)
            )
            self._writer = tf.summary.create_file_writer(str(run.tensorboard))
        except (OSError, tf.errors.OpError) as error:
            raise self._failure(error) from None
        self._whole: dict[str, int] = {}
        for entry in self._metrics.entries:
            self._to_tensorboard(entry)
        for entry in self._timing.entries:
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
        self._append(self._metrics, {"step": step, **values})
        if timing:
            self._append(self._timing, {"step": step, **timing}, "timing/")

    def _append(self, lines: JsonLines, entry: dict[str, Any], prefix: str = "") -> None:
        try:
            lines.append(entry)
        except OSError as error:
            raise self._failure(error) from None
        self._to_tensorboard(entry, prefix)

    def _failure(self, error: OSError | tf.errors.OpError) -> RunError:
        reason = error.strerror if isinstance(error, OSError) else error.message[-200:]
        return RunError(
            f"The logs in {self._run.path} cannot be written: {reason}; checkpoints are intact. "
            "Free space or permissions, then run the same command again, without "
            "`restart=True`."
        )

    def _to_tensorboard(self, entry: dict[str, Any], prefix: str = "") -> None:
        with self._writer.as_default(step=entry["step"]):
            for name, value in entry.items():
                if name != "step" and isinstance(value, (int, float)):
                    tf.summary.scalar(prefix + name, value)

    def marks(self) -> dict[str, Any]:
        """Positions in the logs; all up to here is with the operating system, events as well.

        Raises:
          RunError: the events could not be written.
        """
        try:
            self._writer.flush()
            sizes = event_sizes(self._run.tensorboard)
            for name, size in sizes.items():  # a flush onto a full disk says nothing
                path = self._run.tensorboard / name
                self._whole[name] = whole_records(path, self._whole.get(name, 0))
                if self._whole[name] != size:
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        except (OSError, tf.errors.OpError) as error:
            raise self._failure(error) from None
        marks = {lines.path.name: lines.mark() for lines in (self._metrics, self._timing)}
        return {**marks, _EVENTS: sizes}

    def close(self) -> None:
        for lines in (self._metrics, self._timing):
            lines.close()
        self._writer.close()
