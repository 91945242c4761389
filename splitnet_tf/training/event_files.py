"""TensorBoard's event files, brought back to the step of a checkpoint."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Mapping
from pathlib import Path

import tensorflow as tf

_KEPT = "events.out.tfevents.0000000000.kept"


def event_sizes(folder: Path) -> dict[str, int]:
    """Bytes of each event file."""
    return {path.name: path.stat().st_size for path in sorted(folder.glob("*tfevents*"))}


def whole_records(path: Path, start: int = 0) -> int:
    """End of the last whole record of an event file, read from the end of an earlier one.

    A record is its length (8 bytes), a checksum (4), the event, and another checksum (4).
    """
    size, end = path.stat().st_size, start
    with open(path, "rb") as file:
        while True:
            file.seek(end)
            head = file.read(8)
            length = int.from_bytes(head, "little") + 16
            if len(head) < 8 or end + length > size:
                return end
            end += length


def keep_events(folder: Path, step: int, sizes: Mapping[str, int]) -> None:
    """Leaves of a folder's events those up to a step, each once, in one file.

    Scalars are not kept: the log writes them anew from ``metrics.jsonl``, to the last digit.

    Args:
      folder: of the event files; it need not be there.
      step: of the checkpoint resumed from.
      sizes: ``event_sizes()`` at that checkpoint; a file that is shorter now is named in a warning.

    Raises:
      OSError, tf.errors.OpError: the folder cannot be written.
    """
    files = sorted(folder.glob("*tfevents*")) if folder.is_dir() else []
    seen, kept = set(), []
    for path in files:
        if path.stat().st_size < sizes.get(path.name, 0):
            logging.warning("%s is cut short; what is left is kept.", path)
        for event in _events(path):
            key = (event.step, event.WhichOneof("what"), *(v.tag for v in event.summary.value))
            if event.step <= step and key not in seen and not _is_scalar(event):
                seen.add(key)
                kept.append(event.SerializeToString())
    beside = folder / f".{_KEPT}.{os.getpid()}.tmp"
    if kept:
        with tf.io.TFRecordWriter(str(beside)) as writer:
            for record in kept:
                writer.write(record)
        os.replace(beside, folder / _KEPT)
    for path in files:
        if path.name != _KEPT or not kept:
            path.unlink(missing_ok=True)


def _events(path: Path) -> Iterator[tf.compat.v1.Event]:
    """The events of a file, as far as it is whole; a killed writer leaves half a record."""
    try:
        for record in tf.data.TFRecordDataset(str(path)).as_numpy_iterator():
            yield tf.compat.v1.Event.FromString(record)
    except (tf.errors.OpError, ValueError) as error:  # protobuf's DecodeError is a ValueError
        if not isinstance(error, tf.errors.DataLossError) or "truncated" not in str(error):
            logging.warning("%s is damaged; what stands before is kept.", path)


def _is_scalar(event: tf.compat.v1.Event) -> bool:
    plugins = {v.metadata.plugin_data.plugin_name for v in event.summary.value}
    return event.WhichOneof("what") == "summary" and plugins == {"scalars"}
