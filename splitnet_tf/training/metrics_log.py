"""Metrics as JSON lines and TensorBoard scalars, each step once whatever was killed."""

from __future__ import annotations

import json
import shutil
from typing import Any

import tensorflow as tf

from splitnet_tf.files import write_atomically
from splitnet_tf.training.run_directory import RunDirectory


class MetricsLog:
    """Writes ``metrics.jsonl``, ``timing.jsonl`` and TensorBoard events.

    A repeated run repeats the first to the byte; what it cannot repeat is in the second.

    Args:
      run: the run's folder.
      length: bytes of ``metrics.jsonl`` that belong to the checkpoint resumed from; what lies
        beyond is cut off, and the TensorBoard events are written anew from what remains.
    """

    def __init__(self, run: RunDirectory, length: int = 0):
        self._run = run
        run.metrics.touch()
        kept = run.metrics.read_bytes()[:length]
        write_atomically(run.metrics, kept)
        shutil.rmtree(run.tensorboard, ignore_errors=True)
        self._writer = tf.summary.create_file_writer(str(run.tensorboard))
        self._metrics = open(run.metrics, "a", encoding="utf-8")  # noqa: SIM115
        self._timing = open(run.timing, "a", encoding="utf-8")  # noqa: SIM115
        for line in kept.decode().splitlines():
            self._to_tensorboard(json.loads(line))

    @property
    def writer(self) -> tf.summary.SummaryWriter:
        """For summaries other than scalars."""
        return self._writer

    def write(self, step: int, values: dict[str, Any], timing: dict[str, float] | None = None):
        """Logs the values of a step; numbers become TensorBoard scalars by the same names."""
        entry = {"step": step, **values}
        self._metrics.write(json.dumps(entry) + "\n")
        self._metrics.flush()
        self._to_tensorboard(entry)
        if timing:
            self._timing.write(json.dumps({"step": step, **timing}) + "\n")
            self._timing.flush()
            with self._writer.as_default(step=step):
                for name, value in timing.items():
                    tf.summary.scalar(f"timing/{name}", value)

    def _to_tensorboard(self, entry: dict[str, Any]) -> None:
        with self._writer.as_default(step=entry["step"]):
            for name, value in entry.items():
                if name != "step" and isinstance(value, (int, float)):
                    tf.summary.scalar(name, value)

    def length(self) -> int:
        """Bytes of ``metrics.jsonl`` so far."""
        self._metrics.flush()
        return self._run.metrics.stat().st_size

    def close(self) -> None:
        self._metrics.close()
        self._timing.close()
        self._writer.close()
