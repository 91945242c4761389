"""Data sets in memory: inputs and labels of three splits, class names, superclasses."""

from __future__ import annotations

import dataclasses
import functools
import json
from collections import Counter

import numpy as np

from splitnet_tf.errors import DataError
from splitnet_tf.storage.digests import digest

NAMES = ("cifar100", "planted", "cifar10", "mnist", "digits")


@dataclasses.dataclass(frozen=True)
class Split:
    """Inputs and labels of one split.

    Attributes:
      images: images (N, H, W, C), bytes or floats; or data that are no images, such as token ids
        int (N, T) or features float (N, F).
      labels: int (N,), class of each example; or 0 and 1 (N, classes), where an example may have
        several classes.
    """

    images: np.ndarray
    labels: np.ndarray

    def __len__(self) -> int:
        return len(self.labels)

    def head(self, count: int) -> Split:
        """Returns the first ``count`` examples."""
        return Split(self.images[:count], self.labels[:count])

    def batch_labels(self, chosen: np.ndarray | slice) -> np.ndarray:
        """Labels of some examples as a loss takes them: int32, or float32 of several classes."""
        return self.labels[chosen].astype(np.int32 if self.labels.ndim == 1 else np.float32)


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
        kinds = "uf" if images.ndim == 4 else "iuf"
        if images.ndim < 2 or images.dtype.kind not in kinds or images.dtype.itemsize > 8:
            raise DataError(
                f"{where}: images must be bytes or floats (N, height, width, channels), other "
                f"data integers or floats (N, ...); got {images.dtype} {images.shape}."
            )
        if images.ndim == 4 and images.dtype.kind == "u" and images.dtype != np.uint8:
            raise DataError(
                f"{where}: whole numbers of images must be bytes (uint8); got {images.dtype}: "
                "divide them and give floats, say."
            )
        if len(images) == 0:
            raise DataError(f"{where} is empty; it needs one image or more.")
        if images.dtype.kind == "f" and not np.isfinite(images.sum(dtype=np.float64)):
            raise DataError(f"{where}: its inputs have values that are not finite numbers.")
        self._check_labels(where, labels, len(images))
        of_training = self.train
        if images.shape[1:] != self.input_shape or images.dtype != of_training.images.dtype:
            raise DataError(
                f"{where}: images are {images.dtype} {images.shape[1:]}, those of the training "
                f"split {of_training.images.dtype} {self.input_shape}; all must be of one size "
                "and type."
            )
        if labels.ndim != of_training.labels.ndim:
            raise DataError(
                f"{where}: labels are {labels.shape}, those of the training split "
                f"{of_training.labels.shape}; all must be of one kind."
            )

    def _check_labels(self, where: str, labels: np.ndarray, count: int) -> None:
        if labels.ndim == 2:
            wanted = (count, self.num_classes)
            if labels.shape != wanted or not np.isin(labels, (0, 1)).all():
                raise DataError(
                    f"{where}: labels of several classes must be 0 or 1, {wanted}; got "
                    f"{labels.dtype} {labels.shape}."
                )
            return
        if labels.shape != (count,) or not np.issubdtype(labels.dtype, np.integer):
            raise DataError(
                f"{where}: labels must be {count} integers; got {labels.dtype} {labels.shape}."
            )
        if labels.min() < 0 or labels.max() >= self.num_classes:
            raise DataError(
                f"{where}: labels must lie from 0 to {self.num_classes - 1}; found "
                f"{labels.min()} to {labels.max()}."
            )

    def digest(self) -> str:
        """Digests images, labels, class names and superclasses, without the name: 16 digits."""
        return self._digest

    @functools.cached_property
    def _digest(self) -> str:
        def parts():
            for split in (self.train, self.valid, self.test):
                yield f"{split.images.shape}"
                if split.images.dtype != np.uint8:
                    yield f"{split.images.dtype}"
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
    def input_shape(self) -> tuple[int, ...]:
        """Shape of one input, of an image (height, width, channels)."""
        return tuple(self.train.images.shape[1:])

    @property
    def has_images(self) -> bool:
        """True where the inputs are images."""
        return len(self.input_shape) == 3

    @property
    def multi_label(self) -> bool:
        """True where an example may have several classes."""
        return self.train.labels.ndim == 2

    def absent_classes(self) -> list[str]:
        """Names of the classes that no training example has."""
        labels = self.train.labels
        if self.multi_label:
            counts = labels.sum(axis=0)
        else:
            counts = np.bincount(labels, minlength=self.num_classes)
        return [name for name, count in zip(self.class_names, counts, strict=True) if not count]
