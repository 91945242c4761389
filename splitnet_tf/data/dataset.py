"""Data sets in memory: images and labels of three splits, class names, superclasses."""

from __future__ import annotations

import dataclasses
import json
from collections import Counter

import numpy as np

from splitnet_tf.errors import DataError
from splitnet_tf.storage.digests import digest

NAMES = ("cifar100", "planted", "cifar10", "mnist", "digits")


@dataclasses.dataclass(frozen=True)
class Split:
    """Images and labels of one split.

    Attributes:
      images: uint8 (N, H, W, C).
      labels: int32 (N,), class of each image.
    """

    images: np.ndarray
    labels: np.ndarray

    def __len__(self) -> int:
        return len(self.labels)

    def head(self, count: int) -> Split:
        """Returns the first ``count`` examples."""
        return Split(self.images[:count], self.labels[:count])


@dataclasses.dataclass(frozen=True)
class Dataset:
    """A classification data set, checked when it is made.

    Attributes:
      name: string, name of the data set.
      train, valid, test: the splits.
      class_names: names, one a class, no two alike.
      superclasses: int (classes,), superclass of each class. Defaults to None: there are none.
      superclass_names: names, one a superclass, no two alike.
      groups: int (classes,) each, planted groups of the classes from coarse to fine.
    """

    name: str
    train: Split
    valid: Split
    test: Split
    class_names: tuple[str, ...]
    superclasses: np.ndarray | None = None
    superclass_names: tuple[str, ...] = ()
    groups: tuple[np.ndarray, ...] = ()

    def __post_init__(self):
        if self.num_classes < 2:
            raise DataError(f"Data set '{self.name}' has {self.num_classes} classes; it needs 2.")
        for which in ("class_names", "superclass_names"):
            self._check_names(which, getattr(self, which))
        for which in ("train", "valid", "test"):
            self._check(which, getattr(self, which))

    def _check_names(self, which: str, names: tuple[str, ...]) -> None:
        repeated = next((name for name, count in Counter(names).items() if count > 1), None)
        if repeated is not None:
            raise DataError(
                f"Data set '{self.name}': {which} must be different from each other; "
                f"'{repeated[:40]}' is there more than once, rename one."
            )

    def _check(self, which: str, split: Split) -> None:
        where = f"Data set '{self.name}', split '{which}'"
        images, labels = split.images, split.labels
        if images.dtype != np.uint8 or images.ndim != 4:
            raise DataError(
                f"{where}: images must be uint8 (N, height, width, channels); got "
                f"{images.dtype} {images.shape}."
            )
        if len(images) == 0:
            raise DataError(f"{where} is empty; it needs one image or more.")
        if labels.shape != (len(images),) or not np.issubdtype(labels.dtype, np.integer):
            raise DataError(
                f"{where}: labels must be {len(images)} integers; got {labels.dtype} "
                f"{labels.shape}."
            )
        if labels.min() < 0 or labels.max() >= self.num_classes:
            raise DataError(
                f"{where}: labels must lie from 0 to {self.num_classes - 1}; found "
                f"{labels.min()} to {labels.max()}."
            )
        if images.shape[1:] != self.input_shape:
            raise DataError(
                f"{where}: images are {images.shape[1:]}, those of the training split "
                f"{self.input_shape}; all must be of one size."
            )

    def digest(self) -> str:
        """Digests images, labels, class names and superclasses, without the name: 16 digits."""

        def parts():
            for split in (self.train, self.valid, self.test):
                yield f"{split.images.shape}"
                yield split.images
                yield split.labels.astype("int32")
            yield json.dumps(self.class_names)
            known = self.superclasses is not None
            yield json.dumps(self.superclasses.tolist() if known else None)

        return digest(parts())

    @property
    def num_classes(self) -> int:
        """Number of classes."""
        return len(self.class_names)

    @property
    def input_shape(self) -> tuple[int, int, int]:
        """Shape of an image, (height, width, channels)."""
        return tuple(self.train.images.shape[1:])
