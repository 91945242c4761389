"""Random access to the records of tensorflow-datasets: an index of TFRecords, or ArrayRecords."""

from __future__ import annotations

import io
import logging
import mmap
import os
import struct
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from splitnet_tf.data.examples import read_bytes, read_integer
from splitnet_tf.data.pictures import PictureSource
from splitnet_tf.errors import DataError
from splitnet_tf.storage.atomic import write_atomically
from splitnet_tf.storage.digests import digest

HEADER, FOOTER = 12, 4  # a TFRecord: length (8), its checksum (4), the record, its checksum (4)
CACHED_FROM = 50_000  # records whose index is kept


class RecordSource(PictureSource):
    """Pictures in the TFRecord files of a split; where each begins is found once.

    Args:
      files: paths of the shards.
      image, label: strings, names of the features.
      remedy: string, what to do where a file is damaged.

    Attributes:
      labels: int (N,).

    Raises:
      DataError: a file is damaged.
    """

    def __init__(self, files: Sequence[str], image: str, label: str, remedy: str):
        self.files, self._image, self._label, self._remedy = list(files), image, label, remedy
        self._sizes, cache = _sizes_and_cache(self.files, "records", label)
        self._index = _read_index(cache)
        if self._index is None:
            self._index = np.concatenate([self._scan(k) for k in range(len(self.files))])
            if len(self._index) >= CACHED_FROM:
                _write_index(cache, self._index)
        self.labels = self._index[:, 3]

    def __len__(self) -> int:
        return len(self._index)

    def name(self, index: int) -> str:
        file, start, _, _ = self._index[index]
        return f"Record {index} in {self.files[file]} (byte {start})"

    def read(self, index: int) -> bytes:
        file, start, length, _ = self._index[index]
        try:
            handle = os.open(self.files[file], os.O_RDONLY)
            try:
                record = os.pread(handle, int(length), int(start))
            finally:
                os.close(handle)
            return read_bytes(memoryview(record), self._image)
        except (OSError, ValueError) as error:
            raise DataError(
                f"{self.name(index)} cannot be read ({getattr(error, 'strerror', error)}); "
                f"{self._remedy}"
            ) from None

    def digest(self) -> str:
        names = [Path(file).name for file in self.files]
        return digest(["\n".join(names), self._sizes, self._index])

    def _scan(self, number: int) -> np.ndarray:
        """File, start, length and label of each record of a file, int64 (N, 4)."""
        path, found, at = self.files[number], [], 0
        if not self._sizes[number]:
            return np.zeros((0, 4), np.int64)
        try:
            with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ) as data:
                view = memoryview(data)
                try:
                    while at < len(view):
                        if at + HEADER > len(view):
                            raise ValueError("it ends within a record")
                        (length,) = struct.unpack_from("<Q", view, at)
                        start, end = at + HEADER, at + HEADER + length
                        if end + FOOTER > len(view):
                            raise ValueError("it ends within a record")
                        label = read_integer(view, self._label, start, end)
                        found.append((number, start, length, label))
                        at = end + FOOTER
                finally:
                    view.release()
        except (OSError, ValueError, struct.error) as error:
            raise DataError(f"{path} is damaged ({error}); {self._remedy}") from None
        return np.array(found, np.int64).reshape(-1, 4)


class ArrayRecordSource(PictureSource):
    """Pictures in the ArrayRecord files of a split.

    Args:
      files, image, label, remedy: see ``RecordSource``.

    Attributes:
      labels: int (N,); all records are read for them once.

    Raises:
      DataError: a file is damaged, or the package that reads ArrayRecords is missing.
    """

    def __init__(self, files: Sequence[str], image: str, label: str, remedy: str):
        try:
            from array_record.python.array_record_data_source import ArrayRecordDataSource
        except ImportError:
            raise DataError(
                "The data are in ArrayRecord files, which the package array_record reads; run: pip "
                "install array_record."
            ) from None
        self.files, self._image, self._remedy = list(files), image, remedy
        self._sizes, cache = _sizes_and_cache(self.files, "labels", label)
        try:
            self._records = ArrayRecordDataSource(self.files)
            self.labels = _read_index(cache)
            if self.labels is None:
                found = (self._records[i] for i in range(len(self._records)))
                found = [read_integer(memoryview(record), label) for record in found]
                self.labels = np.array(found, np.int64)
                if len(self.labels) >= CACHED_FROM:
                    _write_index(cache, self.labels)
        except (OSError, ValueError, RuntimeError, IndexError) as error:
            raise DataError(
                f"{self.files[0]} and its like are damaged ({str(error)[:80]}); {remedy}"
            ) from None

    def __len__(self) -> int:
        return len(self.labels)

    def name(self, index: int) -> str:
        return f"Record {index} of {self.files[0]} and its like"

    def read(self, index: int) -> bytes:
        try:
            return read_bytes(memoryview(self._records[int(index)]), self._image)
        except (OSError, ValueError, RuntimeError, IndexError) as error:
            raise DataError(
                f"{self.name(index)} cannot be read ({str(error)[:80]}); {self._remedy}"
            ) from None

    def digest(self) -> str:
        names = [Path(file).name for file in self.files]
        return digest(["\n".join(names), self._sizes, self.labels])


def cache_folder() -> Path:
    """Folder of indices: ``$XDG_CACHE_HOME/splitnet_tf``, or else ``~/.cache/splitnet_tf``."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache", "splitnet_tf")


def _sizes_and_cache(files: Sequence[str], kind: str, label: str) -> tuple[np.ndarray, Path]:
    """Sizes of files, int64 (N,), and where their index is kept."""
    stats = [os.stat(file) for file in files]
    key = [f"{f} {s.st_size} {s.st_mtime_ns}" for f, s in zip(files, stats, strict=True)]
    text = digest(["\n".join([label, *key])])
    return np.array([s.st_size for s in stats], np.int64), cache_folder() / f"{kind}-{text}.npz"


def _read_index(path: Path) -> np.ndarray | None:
    """An index that was kept; None where there is none, or a damaged one."""
    try:
        with np.load(path, allow_pickle=False) as found:
            index, wanted = found["index"], str(found["digest"])
    except Exception:  # not there, or damaged: it is made again
        return None
    return index if digest([index]) == wanted else None


def _write_index(path: Path, index: np.ndarray) -> None:
    buffer = io.BytesIO()
    np.savez(buffer, index=index, digest=digest([index]))
    try:
        write_atomically(path, buffer.getvalue())
    except OSError as error:
        logging.warning(
            "The index of the data cannot be kept in %s (%s): it is made anew each time.",
            *(path, error.strerror),
        )
