"""Pictures on disk that behave like an array of images and are decoded only when they are read."""

from __future__ import annotations

import abc
import functools
from collections.abc import Sequence

import numpy as np

from splitnet_tf.errors import DataError
from splitnet_tf.storage.digests import digest


class PictureSource(abc.ABC):
    """Encoded pictures (JPEG, PNG, GIF, BMP, WebP), read one by one in any order."""

    @abc.abstractmethod
    def __len__(self) -> int:
        """Number of pictures."""

    @abc.abstractmethod
    def read(self, index: int) -> bytes:
        """Returns the encoded picture.

        Raises:
          DataError: it cannot be read.
        """

    @abc.abstractmethod
    def name(self, index: int) -> str:
        """Returns words that find the picture on disk."""

    @abc.abstractmethod
    def digest(self) -> str:
        """Digests names and sizes; the pictures themselves are not read."""


class Pictures:
    """Images (N, size, size, channels) as bytes, the middle of each picture scaled to the size.

    Args:
      source: the encoded pictures.
      size: int, height and width.
      channels: int, 1 or 3.
      chosen: int (N,), numbers in the source. Defaults to all.

    Attributes:
      shape, dtype, ndim: those of the array that the pictures stand for.
    """

    dtype = np.dtype(np.uint8)
    ndim = 4

    def __init__(
        self,
        source: PictureSource,
        size: int,
        channels: int = 3,
        chosen: np.ndarray | None = None,
    ):
        self.source, self.size, self.channels = source, size, channels
        self.chosen = np.arange(len(source)) if chosen is None else np.asarray(chosen)
        self.shape = (len(self.chosen), size, size, channels)

    def __len__(self) -> int:
        return len(self.chosen)

    @property
    def scaling(self) -> str:
        """Words for how a picture becomes an image; see ``decoding.middle``."""
        return (
            "the middle of the picture, a square of 7/8 of its shorter side or of all of a small "
            f"one, scaled to {self.size}x{self.size}"
        )

    def part(self, which: np.ndarray | slice) -> Pictures:
        """Some of the pictures, still on disk."""
        return Pictures(self.source, self.size, self.channels, self.chosen[which])

    def __getitem__(self, which: np.ndarray | slice) -> np.ndarray:
        """Decodes some of the pictures, uint8 (N, size, size, channels).

        Raises:
          DataError: a picture cannot be read or decoded.
        """
        from splitnet_tf.data.decoding import middle

        found = [self.decode(i, middle) for i in np.atleast_1d(self.chosen[which])]
        return np.stack(found) if found else np.zeros((0, *self.shape[1:]), np.uint8)

    def decode(self, index: int, how) -> np.ndarray:
        """Decodes a picture by its number in the source.

        Args:
          index: int, number in the source.
          how: function of (encoded picture, size, channels).

        Raises:
          DataError: it cannot be read or decoded; the sentence names it.
        """
        import tensorflow as tf

        try:
            return how(tf.constant(self.source.read(int(index))), self.size, self.channels).numpy()
        except tf.errors.OpError:
            raise DataError(
                f"{self.source.name(int(index))} cannot be decoded (it is truncated, damaged, or "
                "not a JPEG, PNG, GIF, BMP or WebP); repair the picture or remove it."
            ) from None

    def check(self, which: np.ndarray) -> None:
        """Raises DataError for the first of some pictures that cannot be read or decoded."""
        from splitnet_tf.data.decoding import as_it_is

        for i in self.chosen[which]:
            self.decode(i, lambda encoded, size, channels: as_it_is(encoded, channels))

    def encoded(self, which: np.ndarray) -> list[bytes]:
        """The encoded pictures by their numbers here."""
        return [self.source.read(int(i)) for i in self.chosen[which]]

    def digest(self) -> str:
        """Digests names and sizes on disk, the choice, and the size of the images."""
        return self._digest

    @functools.cached_property
    def _digest(self) -> str:
        return digest([self.source.digest(), f"{self.shape}", self.chosen.astype("int64")])


def image_content(images: np.ndarray | Pictures) -> np.ndarray | str:
    """Content of images for a digest: the array, or the digest of pictures on disk."""
    return images.digest() if isinstance(images, Pictures) else images


def image_part(images: np.ndarray | Pictures, which: Sequence[int] | np.ndarray | slice):
    """Some of the images; pictures stay on disk."""
    return images.part(which) if isinstance(images, Pictures) else images[which]
