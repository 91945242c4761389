"""Preprocessing: the arithmetic between the numbers of a data set and a model's input."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from splitnet_tf.errors import ArgumentError
from splitnet_tf.recipe.augmentation import LAYERS, augmentation
from splitnet_tf.recipe.augmentation import NONE as NO_AUGMENTATION

KINDS = ("whiten", "none", "scale01", "scale11", "standardize", "caffe")
# Kinds that take pixels from 0 to 255.
_OF_PIXELS = ("scale01", "scale11", "standardize", "caffe")
MOST_CHANNELS = 256
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_DEVIATION = (0.229, 0.224, 0.225)
IMAGENET_BGR_MEAN = (103.939, 116.779, 123.68)
# Constants by default: (mean, deviation).
_DEFAULTS = {
    "standardize": (IMAGENET_MEAN, IMAGENET_DEVIATION),
    "caffe": (IMAGENET_BGR_MEAN, ()),
}


@dataclasses.dataclass(frozen=True)
class Preprocessing:
    """Arithmetic on a batch before a model sees it. Prints as ``parse`` reads it.

    | kind | of images | is |
    |---|---|---|
    | ``whiten`` | any | each image and channel with mean 0 and deviation 1, as the 2017 code does |
    | ``none`` | any data | the numbers as they are, bytes as float32 |
    | ``scale01`` | 0 to 255 | x / 255 |
    | ``scale11`` | 0 to 255 | x / 127.5 - 1 |
    | ``standardize`` | 0 to 255 | (x / 255 - mean) / deviation |
    | ``caffe`` | 0 to 255, RGB | BGR, less the mean of each channel |

    Args:
      kind: string, one of the table.
      mean: floats, one a channel or one for all: of ``standardize`` on 0 to 1, of ``caffe`` in the
        order BGR on 0 to 255. Defaults to ImageNet's.
      deviation: floats above 0, of ``standardize`` on 0 to 1. Defaults to ImageNet's.

    Raises:
      ArgumentError: an unknown kind, or constants that it does not take.

    >>> str(Preprocessing.parse("standardize:0.5:0.25"))
    'standardize:0.5:0.25'
    >>> float(Preprocessing("scale11")(np.full((1, 2, 2, 3), 255, "uint8"))[0, 0, 0, 0])
    1.0
    """

    kind: str
    mean: tuple[float, ...] = ()
    deviation: tuple[float, ...] = ()

    def __post_init__(self):
        if self.kind not in KINDS:
            raise ArgumentError(
                f"`preprocessing` must be one of {', '.join(KINDS)}; got {self.kind!r}."
            )
        constants = []
        for name, default in zip(("mean", "deviation"), self._defaults(), strict=True):
            given = tuple(float(v) for v in getattr(self, name)) or default
            constants.append(given)
            object.__setattr__(self, name, given)
        if max(map(len, constants)) > MOST_CHANNELS:  # what a model file keeps has bounds
            raise ArgumentError(
                f"`preprocessing={self.kind}`: constants of at most {MOST_CHANNELS} channels."
            )
        for given, default in zip(constants, self._defaults(), strict=True):
            if bool(given) != bool(default) or not np.all(np.isfinite(given)):
                raise ArgumentError(
                    f"`preprocessing={self}`: {self.kind} takes {self._form()}, finite numbers."
                )
        if self.kind == "standardize" and not (
            np.all(np.array(self.deviation) > 0) and len(self.mean) == len(self.deviation)
        ):
            raise ArgumentError(
                f"`preprocessing={self}`: give as many deviations above 0 as means."
            )

    def _defaults(self) -> tuple[tuple[float, ...], tuple[float, ...]]:
        return _DEFAULTS.get(self.kind, ((), ()))

    def _form(self) -> str:
        """Words for the constants that the kind takes."""
        mean, deviation = self._defaults()
        return "mean and deviation" if deviation else "a mean of each channel" if mean else "none"

    def __str__(self) -> str:
        parts = [self.kind]
        if (self.mean, self.deviation) != self._defaults():
            parts += [
                ",".join(repr(v).removesuffix(".0") for v in part)
                for part in (self.mean, self.deviation)
                if part
            ]
        return ":".join(parts)

    @property
    def of_pixels(self) -> bool:
        """True for a kind that takes pixels from 0 to 255 only."""
        return self.kind in _OF_PIXELS

    @classmethod
    def parse(cls, text: str) -> Preprocessing:
        """Reads a text such as ``scale01`` or ``standardize:0.49,0.48,0.45:0.2,0.2,0.2``.

        Raises:
          ArgumentError: it is no such text.
        """
        kind, *constants = text.strip().split(":")
        try:
            parts = [tuple(float(v) for v in part.split(",")) for part in constants]
        except ValueError:
            parts = [()] * 3
        if len(parts) > 2:
            raise ArgumentError(
                f"`preprocessing` must be one of {', '.join(KINDS)}, with constants as in "
                f"standardize:0.49,0.48,0.45:0.2,0.2,0.2; got {text[:80]!r}."
            )
        return cls(kind, *parts)

    def to_document(self) -> dict[str, Any]:
        """Kind and constants for a JSON document."""
        found = {"kind": self.kind, "mean": list(self.mean), "deviation": list(self.deviation)}
        return {name: value for name, value in found.items() if value}

    @classmethod
    def from_document(cls, document: Any) -> Preprocessing:
        """Reads what ``to_document`` made.

        Raises:
          ArgumentError: it is no such document.
        """
        known = isinstance(document, Mapping) and set(document) <= {"kind", "mean", "deviation"}
        constants = [document.get(n, []) for n in ("mean", "deviation")] if known else []
        if not known or not all(map(_is_numbers, constants)):
            raise ArgumentError(f"`preprocessing` cannot be read from {str(document)[:80]!r}.")
        return cls(str(document.get("kind")), *map(tuple, constants))

    def check(self, inputs: np.ndarray) -> None:
        """Refuses data that this preprocessing is not for.

        Args:
          inputs: all training data (N, ...).

        Raises:
          ArgumentError: the sentence says what would suit.
        """
        if self.kind == "none":
            return
        if inputs.ndim != 4:
            raise ArgumentError(
                f"`preprocessing={self}` is for images; data of shape {inputs.shape[1:]} "
                "are none: use `preprocessing=none`."
            )
        channels, constants = inputs.shape[-1], len(self.mean)
        if self.kind == "caffe" and channels != 3 or constants not in (0, 1, channels):
            raise ArgumentError(
                f"`preprocessing={self}` is for images of {constants} channels; these "
                f"have {channels}: use another `preprocessing`, or constants of their own."
            )
        if self.of_pixels and np.issubdtype(inputs.dtype, np.floating):
            low, high = float(inputs.min()), float(inputs.max())
            if low < 0 or high <= 1:
                raise ArgumentError(
                    f"`preprocessing={self}` is for pixels from 0 to 255; these images are from "
                    f"{low:.3g} to {high:.3g}: use `preprocessing=none`, or give pixels."
                )

    def __call__(self, inputs: Any) -> Any:
        """The inputs of a model, on any backend; a symbolic tensor gives stock operations.

        Args:
          inputs: array or tensor (B, ...) of any type of numbers.

        Returns:
          float32 of the same shape; with ``none`` integers but bytes stay as they are.
        """
        if self.kind == "none" and _is_index(inputs.dtype):
            return inputs
        x = _as_float(inputs)
        if self.kind == "whiten":
            mean, variance = ops.moments(x, axes=[1, 2], keepdims=True)
            return ops.divide(ops.subtract(x, mean), ops.maximum(ops.sqrt(variance), _least(x)))
        if self.kind == "scale11":
            return ops.subtract(ops.divide(x, 127.5), 1.0)
        if self.kind in ("scale01", "standardize"):
            x = ops.divide(x, 255.0)
        if self.kind == "standardize":
            return ops.divide(ops.subtract(x, _constant(self.mean)), _constant(self.deviation))
        if self.kind == "caffe":
            return ops.subtract(ops.take(x, [2, 1, 0], axis=-1), _constant(self.mean))
        return x


WHITEN, NONE = Preprocessing("whiten"), Preprocessing("none")


def with_preprocessing(
    model: keras.Model,
    preprocessing: Preprocessing,
    *,
    dtype: str = "uint8",
    augment: str = NO_AUGMENTATION,
    seed: int = 0,
) -> keras.Model:
    """A model from the numbers of a data set to float32 logits around ``model``.

    Without augmentation everything in front of ``model`` is an operation of stock Keras.

    Args:
      model: takes prepared inputs (B, ...), one tensor; its weights are shared.
      preprocessing: preparation of the inputs.
      dtype: string, type of the data. Defaults to bytes.
      augment: name of an augmentation, see ``augmentation``; acts in training alone. Defaults
        to ``"none"``.
      seed: int, seed of the augmentation.

    >>> net = sn.models.mlp((8,), num_classes=4, input_shape=(6, 6, 3))
    >>> raw = with_preprocessing(net, Preprocessing("scale01"))
    >>> raw.input.dtype, raw.output.shape
    ('uint8', (None, 4))
    """
    if len(model.inputs) != 1:
        raise ArgumentError(
            f"`preprocessing={preprocessing}`: model '{model.name}' has {len(model.inputs)} "
            "inputs, where a single one can be prepared."
        )
    inputs = keras.Input(model.inputs[0].shape[1:], dtype=dtype)
    x = inputs
    if augment != NO_AUGMENTATION:
        # In float32 whatever the policy: means and differences do not fit bfloat16.
        x = LAYERS[augmentation(augment)](seed, dtype="float32")(_as_float(x))
    x = preprocessing(x)
    x = keras.layers.Activation("linear", dtype="float32")(model(x))
    return keras.Model(inputs, x, name=model.name)


def _least(images: Any) -> Any:
    """The least deviation that whitening divides by, 1 / sqrt(H W)."""
    height, width = images.shape[1:3]
    if height is not None and width is not None:
        return (height * width) ** -0.5
    return ops.rsqrt(ops.sum(ops.ones_like(images), axis=[1, 2], keepdims=True))


def _constant(values: tuple[float, ...]) -> np.ndarray:
    return np.array(values, np.float32)


def _as_float(x: Any) -> Any:
    return x if _dtype(x.dtype) == "float32" else ops.cast(x, "float32")


def _is_index(dtype: Any) -> bool:
    """True for integers that count something: all but bytes, which are pixels."""
    dtype = _dtype(dtype)
    return dtype != "uint8" and "int" in dtype


def _dtype(dtype: Any) -> str:
    return keras.backend.standardize_dtype(dtype)


def _is_numbers(values: Any) -> bool:
    return isinstance(values, Sequence) and all(type(v) in (int, float) for v in values)
