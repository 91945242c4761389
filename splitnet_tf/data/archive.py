"""Check of the official CIFAR-100 archive, to the last member, before anything unpacks it.

Only the binary version is read: its members are bytes of labels and pixels. The Python version
holds pickles, which run code when they are read; nothing here ever does.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import re
import tarfile
from pathlib import Path
from typing import BinaryIO

import numpy as np

from splitnet_tf.errors import DataError

FOLDER = "cifar-100-binary"
RECORD = 2 + 32 * 32 * 3  # a coarse label, a fine label, the pixels
IMAGES = {"train.bin": 50_000, "test.bin": 10_000}
NAMES = {"coarse_label_names.txt": 20, "fine_label_names.txt": 100}
MAX_NAMES_BYTES = 4096
MAX_UNPACKED = RECORD * sum(IMAGES.values()) + 1024 * 1024  # and the tar's own headers
_CHUNK = 1000
_NAME = re.compile(r"[a-z0-9_-]+")


def check_archive(path: str | Path, sha256: str, size: int) -> None:
    """Refuses a file that is not the archive of CIFAR-100's binary version.

    Its size and SHA-256 are compared first. What they let pass is read member by member, never
    written: through PEP 706's data filter, at most as many bytes as the data set has, only the
    regular files of the binary format with their exact sizes, only labels that there are.

    Args:
      path: ``cifar-100-binary.tar.gz``.
      sha256: string, digest that the file must have. Defaults to the official archive's.
      size: int, bytes that the file must have. Defaults to the official archive's.

    Raises:
      DataError: it is not; the error says why.
    """
    path = Path(path)
    if not hasattr(tarfile, "data_filter"):
        raise DataError(
            "Archives are read with Python's tarfile.data_filter (PEP 706), which this Python "
            "lacks; use 3.10.12, 3.11.4 or newer."
        )
    if "python" in path.name:
        raise _pickles(path)
    try:
        found = path.stat().st_size
        if not path.is_file() or found != size:
            raise _refused(path, f"it has {found} bytes, the official one {size}")
        with open(path, "rb") as file:
            digest = hashlib.sha256()
            while block := file.read(1 << 20):
                digest.update(block)
        if digest.hexdigest() != sha256:
            raise _refused(path, f"its sha256 is {digest.hexdigest()}, the official one {sha256}")
        _check_members(path)
    except DataError:
        raise
    except gzip.BadGzipFile:
        raise _refused(path, "it is no gzip file") from None
    except OSError as error:
        raise DataError(f"Archive {path} cannot be read: {error.strerror}.") from None
    except Exception as error:  # tarfile raises many kinds for a damaged or hostile file
        raise _refused(path, f"{type(error).__name__}: {str(error)[:120]}") from None


class _Bounded(io.RawIOBase):
    """Reads a stream up to a limit."""

    def __init__(self, stream: BinaryIO, limit: int):
        self._stream = stream
        self._left = limit

    def read(self, count: int = -1) -> bytes:
        data = self._stream.read(min(count, self._left + 1) if count >= 0 else self._left + 1)
        self._left -= len(data)
        if self._left < 0:
            raise ValueError("it unpacks to more than CIFAR-100 has")
        return data


def _check_members(path: Path) -> None:
    missing = set(IMAGES) | set(NAMES)
    with gzip.open(path, "rb") as stream:
        unpacked = _Bounded(stream, MAX_UNPACKED)
        with tarfile.open(fileobj=unpacked, mode="r|") as archive:
            _check_each(archive, path, missing)
        # What follows the end of the archive counts too.
        while unpacked.read(1 << 20):
            pass
    if missing:
        raise _refused(path, f"it lacks {', '.join(sorted(missing))}")


def _check_each(archive: tarfile.TarFile, path: Path, missing: set[str]) -> None:
    for member in archive:
        if member.name.startswith("cifar-100-python"):
            raise _pickles(path)
        tarfile.data_filter(member, str(path.parent))  # raises; nothing is written
        if member.isdir() and member.name.rstrip("/") == FOLDER:
            continue
        folder, _, name = member.name.rpartition("/")
        if not member.isreg() or folder != FOLDER or name not in missing:
            raise _refused(path, f"its member '{member.name[:80]}' is none of the binary format")
        missing.remove(name)
        if name in IMAGES:
            _check_images(archive, member, IMAGES[name])
        else:
            _check_names(archive, member, NAMES[name])


def _check_images(archive: tarfile.TarFile, member: tarfile.TarInfo, count: int) -> None:
    if member.size != count * RECORD:
        raise ValueError(f"'{member.name}' has {member.size} bytes, not {count} x {RECORD}")
    file = archive.extractfile(member)
    for start in range(0, count, _CHUNK):
        content = file.read(_CHUNK * RECORD)
        records = np.frombuffer(content, np.uint8).reshape(-1, RECORD)
        if len(records) != _CHUNK or (records[:, 0] >= 20).any() or (records[:, 1] >= 100).any():
            raise ValueError(f"'{member.name}' has labels that are none, from image {start} on")


def _check_names(archive: tarfile.TarFile, member: tarfile.TarInfo, count: int) -> None:
    if member.size > MAX_NAMES_BYTES:
        raise ValueError(f"'{member.name}' has {member.size} bytes, more than {MAX_NAMES_BYTES}")
    names = [n for n in archive.extractfile(member).read().decode("ascii").split("\n") if n]
    if len(names) != count or not all(_NAME.fullmatch(n) for n in names):
        raise ValueError(f"'{member.name}' should have {count} names, one a line")


def _pickles(path: Path) -> DataError:
    return DataError(
        f"Archive {path} is refused: the Python version of CIFAR-100 holds pickles, which are "
        f"never read; take {FOLDER}.tar.gz."
    )


def _refused(path: Path, reason: str) -> DataError:
    return DataError(
        f"Archive {path} is refused: {reason}; take {FOLDER}.tar.gz from "
        "https://www.cs.toronto.edu/~kriz/cifar.html."
    )
