"""A folder of pictures as a data set: a folder for each split, or for each class."""

from __future__ import annotations

import itertools
import json
import logging
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from splitnet_tf.data.dataset import Dataset, Split
from splitnet_tf.data.partition import partition
from splitnet_tf.data.picture_sizes import as_images
from splitnet_tf.data.pictures import PictureSource
from splitnet_tf.errors import DataError
from splitnet_tf.storage.digests import digest

SUFFIXES = (".jpg", ".jpeg", ".png", ".gif", ".bmp", ".webp")
OTHER_SUFFIXES = (".tif", ".tiff", ".heic", ".avif", ".svg")
SPLITS = {"train": ("train",), "valid": ("val", "valid", "validation"), "test": ("test",)}
SUPERCLASSES = "superclasses.json"
BEGINNINGS = (b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"GIF8", b"BM", b"RIFF")
MOST_CHECKED = 100_000  # files whose first bytes are read before training begins


class FolderSource(PictureSource):
    """Picture files below a folder.

    Args:
      root: the folder.
      names: paths of the files below it.
      sizes: int (N,), their sizes in bytes.
    """

    def __init__(self, root: Path, names: Sequence[str], sizes: np.ndarray):
        self.root, self.names, self.sizes = root, names, sizes

    def __len__(self) -> int:
        return len(self.names)

    def name(self, index: int) -> str:
        return str(self.root / self.names[index])

    def read(self, index: int) -> bytes:
        path = os.path.join(self.root, self.names[index])
        try:
            with open(path, "rb") as file:
                return file.read()
        except OSError as error:
            raise DataError(
                f"{path} cannot be read ({error.strerror}); put the picture back, or make it "
                "readable."
            ) from None

    def digest(self) -> str:
        names = "\n".join(self.names).encode(errors="backslashreplace")  # of any bytes
        return digest([np.frombuffer(names, np.uint8), self.sizes.astype("int64")])

    def check_beginnings(self) -> None:
        """Raises DataError for a file that does not begin as a picture does."""
        if len(self) > MOST_CHECKED:
            return

        def begins(name: str) -> bool:
            with open(os.path.join(self.root, name), "rb") as file:
                return file.read(8).startswith(BEGINNINGS)

        try:
            with ThreadPoolExecutor(8) as pool:
                for name, good in zip(self.names, pool.map(begins, self.names), strict=True):
                    if not good:
                        raise DataError(
                            f"{self.root / name} is not a picture, though it is named like one; "
                            "remove the file or replace it."
                        )
        except OSError as error:
            raise DataError(
                f"{error.filename} cannot be read ({error.strerror}); make it readable, or remove "
                "it."
            ) from None


def load_folder(
    folder: str | Path, image_size: int | None = None, validation_share: float | None = None
) -> Dataset:
    """Loads ``folder/train/<class>/*.jpg`` with ``val`` and ``test`` beside it, or
    ``folder/<class>/*.jpg``.

    The classes are the folders in alphabetic order. ``folder/superclasses.json`` may give their
    superclasses: ``{"animals": ["cat", "dog"], ...}``. What else has a name that begins with a dot
    or an underscore is passed over.

    Args:
      folder: path of the folder.
      image_size: int, height and width of the images. Defaults to those of the pictures where they
        are of one size, else to 224.
      validation_share: float, see ``partition``.

    Raises:
      DataError: a layout, a class or a file that cannot be used; the sentence names it.
    """
    root = Path(folder)
    below = _folders(root)
    given = {which: [n for n in names if n in below] for which, names in SPLITS.items()}
    for which, names in given.items():
        if len(names) > 1:
            raise DataError(
                f"Data folder {root} has {' and '.join(names)} for the {which} split; keep one of "
                "them."
            )
    if not given["train"] and (given["valid"] or given["test"]):
        raise DataError(
            f"Data folder {root} has a folder '{(given['valid'] or given['test'])[0]}' but none "
            "that is named 'train'; add it."
        )
    class_names = _folders(root / "train") if given["train"] else below
    _check_classes(root / "train" if given["train"] else root, class_names)
    if given["train"]:
        places = {which: names[0] for which, names in given.items() if names}
    else:
        places = {"train": ""}
    found = {which: _files(root, place, class_names) for which, place in places.items()}
    names = [name for files in found.values() for name, _, _ in files]
    sizes = np.array([size for files in found.values() for _, size, _ in files], np.int64)
    source = FolderSource(root, names, sizes)
    source.check_beginnings()
    splits, start = {}, 0
    images = as_images(source, image_size, str(root))
    for which, files in found.items():
        chosen = np.arange(start, start + len(files))
        labels = np.array([label for _, _, label in files], np.int32)
        splits[which] = Split(images, np.zeros(len(source), np.int32)).rows(chosen)
        splits[which] = Split(splits[which].images, labels)
        start += len(files)
    name = root.resolve().name[:60]
    logging.info("%s: %d pictures of %d classes.", root, len(source), len(class_names))
    return Dataset(
        name,
        *partition(name, splits, validation_share),
        tuple(class_names),
        *read_superclasses(root / SUPERCLASSES, class_names),
    )


def holds_pictures(path: Path) -> bool:
    """True for a folder with a training split, or with a picture in a folder of its own."""
    try:
        if (path / "train").is_dir():
            return True
        return any(
            file.suffix.lower() in SUFFIXES
            for name in _folders(path)
            for file in itertools.islice((path / name).iterdir(), 100)
        )
    except (OSError, DataError):
        return False


def read_superclasses(
    file: Path, class_names: Sequence[str]
) -> tuple[np.ndarray | None, tuple[str, ...]]:
    """Reads superclasses of classes: ``{"animals": ["cat", "dog"], ...}``.

    Returns:
      int (classes,) and the names of the superclasses; None and none where there is no file.

    Raises:
      DataError: the file is not such a table of all classes.
    """
    try:
        table = json.loads(file.read_text(encoding="utf-8"))
        pairs = [(name, s) for s, names in enumerate(table.values()) for name in names]
        found = dict(pairs)
        good = len(found) == len(pairs) and set(found) == set(class_names)
    except FileNotFoundError:
        return None, ()
    except OSError as error:
        raise DataError(f"{file} cannot be read: {error.strerror}.") from None
    except (ValueError, AttributeError, TypeError):
        good = False
    if not good:
        raise DataError(
            f"{file} must give each class once, below its superclass, as in "
            '{"animals": ["cat", "dog"]}; correct it or remove it.'
        )
    return np.array([found[name] for name in class_names], np.int32), tuple(table)


def _folders(root: Path) -> list[str]:
    """Names of the folders in a folder."""
    try:
        with os.scandir(root) as entries:
            return sorted(e.name for e in entries if e.is_dir() and e.name[0] not in "._")
    except OSError as error:
        raise DataError(
            f"Data folder {root} cannot be read ({error.strerror}); make it readable."
        ) from None


def _check_classes(root: Path, class_names: Sequence[str]) -> None:
    if len(class_names) < 2:
        what = f"only the folder '{class_names[0]}'" if class_names else "no folders"
        raise DataError(
            f"Data folder {root} has {what}; it must have a folder of pictures for each of two "
            "classes or more."
        )


def _files(root: Path, place: str, class_names: Sequence[str]) -> list[tuple[str, int, int]]:
    """Name below the root, size and class of each picture of a split."""
    found, folder = [], root / place
    here = class_names if not place or place == "train" else _folders(folder)
    if not here:
        raise DataError(
            f"Data folder {folder} has no folders of classes; sort its pictures into folders "
            "named like those of the training pictures, or remove it."
        )
    number = {name: label for label, name in enumerate(class_names)}
    for name in here:
        if name not in number:
            raise DataError(
                f"{folder / name} is not a class of the training pictures; rename or remove it."
            )
        files = _pictures(folder / name)
        if not files and here is class_names:
            raise DataError(
                f"Class folder {folder / name} has no pictures ({', '.join(SUFFIXES)}); add some, "
                "or remove the folder."
            )
        found += [(os.path.join(place, name, file), size, number[name]) for file, size in files]
    return found


def _pictures(folder: Path) -> list[tuple[str, int]]:
    """Names and sizes of the pictures in a folder, in alphabetic order."""
    found = []
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                suffix = os.path.splitext(entry.name)[1].lower()
                if entry.name[0] in "._" or suffix not in SUFFIXES + OTHER_SUFFIXES:
                    continue
                if suffix in OTHER_SUFFIXES:
                    raise DataError(
                        f"{entry.path} is of a kind that cannot be read; convert it to one of "
                        f"{', '.join(SUFFIXES)}, or remove it."
                    )
                if not entry.is_file():
                    raise DataError(f"{entry.path} is not a file, or a link to nothing; remove it.")
                if not entry.stat().st_size:
                    raise DataError(f"{entry.path} is empty; replace the picture or remove it.")
                found.append((entry.name, entry.stat().st_size))
    except OSError as error:
        raise DataError(
            f"{error.filename or folder} cannot be read ({error.strerror}); make it readable, or "
            "remove it."
        ) from None
    return sorted(found)
