"""Data sets in memory: inputs and labels of three splits, class names, superclasses."""

from __future__ import annotations

import dataclasses
import functools
import json
from collections import Counter
from collections.abc import Mapping
from typing import Any

import numpy as np

from splitnet_tf.data.pictures import Pictures, image_content, image_part
from splitnet_tf.errors import DataError
from splitnet_tf.storage.digests import digest, digest_arrays

NAMES = ("cifar100", "planted", "cifar10", "mnist", "digits")


@dataclasses.dataclass(frozen=True)
class Split:
    """Inputs and labels of one split.

    Attributes:
      images: images (N, H, W, C), bytes or floats, in memory or ``Pictures`` on disk; or data that
        are no images, such as token ids int (N, T) or features float (N, F).
      labels: int (N,), class of each example; or 0 and 1 (N, classes), where an example may have
        several classes.
      output: string, name of the model's output that the labels are for. Defaults to none: the
        model has one.
      others: name of another output -> its labels: class numbers int (N,), 0 and 1 (N, classes),
        or numbers to be predicted, float (N,) or (N, k). Defaults to none.
    """

    images: np.ndarray | Pictures
    labels: np.ndarray
    output: str | None = None
    others: Mapping[str, np.ndarray] = dataclasses.field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.labels)

    def head(self, count: int) -> Split:
        """Returns the first ``count`` examples."""
        return self.rows(slice(0, count))

    def digest(self) -> str:
        """Digests inputs and labels: 16 digits."""
        others = [labels for _, labels in sorted(self.others.items())]
        if isinstance(self.images, Pictures):
            return digest([self.images.digest(), self.labels, *others])
        return digest_arrays((self.images, self.labels, *others))

    def rows(self, chosen: np.ndarray | slice) -> Split:
        """Returns some examples; pictures stay on disk."""
        others = {name: labels[chosen] for name, labels in self.others.items()}
        return Split(image_part(self.images, chosen), self.labels[chosen], self.output, others)

    def batch_labels(self, chosen: np.ndarray | slice) -> np.ndarray | dict[str, np.ndarray]:
        """Labels of some examples as a loss takes them, by output where there are several.

        Class numbers are int32, all others float32.
        """
        if self.output is None:
            return _as_trained(self.labels[chosen])
        found = {self.output: self.labels, **self.others}
        return {name: _as_trained(labels[chosen]) for name, labels in found.items()}


def is_class_numbers(labels: np.ndarray) -> bool:
    """True for labels that are a class number for each example."""
    return labels.ndim == 1 and labels.dtype.kind in "iub"


def _as_trained(labels: np.ndarray) -> np.ndarray:
    return labels.astype(np.int32 if is_class_numbers(labels) else np.float32)


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
        self._check_others(where, split)

    def _check_others(self, where: str, split: Split) -> None:
        """Checks the labels of other outputs than the one that is grouped."""
        first = self.train
        if (split.output, sorted(split.others)) != (first.output, sorted(first.others)):
            raise DataError(
                f"{where}: its labels are for the outputs {_outputs(split)}, those of the "
                f"training split for {_outputs(first)}; all splits must have the same."
            )
        if split.others and split.output is None or split.output in split.others:
            raise DataError(
                f"{where}: with labels of other outputs, output must name the one that the labels "
                f"are for, which is none of {', '.join(split.others)}; got {split.output!r}."
            )
        for name, labels in split.others.items():
            kinds = "iuf" if labels.ndim == 1 else "iubf"
            if labels.ndim not in (1, 2) or labels.dtype.kind not in kinds:
                wanted = "class numbers (N,), 0 and 1 (N, classes) or floats (N,) or (N, k)"
            elif len(labels) != len(split.images):
                wanted = f"one a example, {len(split.images)}"
            elif labels.dtype.kind == "f" and not np.isfinite(labels.sum(dtype=np.float64)):
                wanted = "finite numbers"
            elif labels.dtype.kind != "f" and (
                labels.min() < 0 if labels.ndim == 1 else not np.isin(labels, (0, 1)).all()
            ):
                wanted = "class numbers from 0 up (N,), or 0 and 1 (N, classes)"
            elif _kind(labels) != _kind(first.others[name]):
                wanted = "of one kind and size in all splits"
            else:
                continue
            raise DataError(
                f"{where}: labels of the output '{name}' must be {wanted}; got {labels.dtype} "
                f"{labels.shape}."
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
                yield image_content(split.images)
                yield split.labels.astype("int32")
                for name, labels in sorted(split.others.items()):
                    yield f"{split.output} {name} {labels.dtype} {labels.shape}"
                    yield labels
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

    @property
    def classifiers(self) -> dict[str, bool] | None:
        """Outputs that classify -> whether an example may have several classes, the main one first.

        None where the model has one output.
        """
        if self.train.output is None:
            return None
        others = {n: x.ndim == 2 for n, x in self.train.others.items() if x.dtype.kind != "f"}
        return {self.train.output: self.multi_label, **others}

    def absent_classes(self) -> list[str]:
        """Names of the classes that no training example has."""
        labels = self.train.labels
        if self.multi_label:
            counts = labels.sum(axis=0)
        else:
            counts = np.bincount(labels, minlength=self.num_classes)
        return [name for name, count in zip(self.class_names, counts, strict=True) if not count]


def _outputs(split: Split) -> str:
    return ", ".join([split.output or "one output", *sorted(split.others)])


def _kind(labels: np.ndarray) -> tuple[Any, ...]:
    return labels.dtype.kind == "f", *labels.shape[1:]
