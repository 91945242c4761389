"""Size and channels of the images that pictures become, and whether they fit into memory."""

from __future__ import annotations

import logging

import numpy as np

from splitnet_tf.data.pictures import Pictures, PictureSource
from splitnet_tf.errors import DataError

DEFAULT_SIZE = 224
IN_MEMORY = 2**29  # most bytes of images that are kept in memory
SAMPLE = 64


def as_images(source: PictureSource, image_size: int | None, what: str) -> np.ndarray | Pictures:
    """Pictures as an array where they are small and of one size, else as ``Pictures`` on disk.

    Args:
      source: the pictures.
      image_size: int, height and width of the images; None for that of the pictures where they are
        of one size, else 224.
      what: string, names the pictures in a sentence.

    Raises:
      DataError: a picture cannot be decoded.
    """
    count = len(source)
    every = Pictures(source, image_size or DEFAULT_SIZE)
    spread = np.unique(np.linspace(0, count - 1, min(count, SAMPLE)).astype(int))
    shapes = [_whole(every, i, 0).shape for i in spread]
    channels = 1 if max(shape[-1] for shape in shapes) < 3 else 3
    if any(shape[-1] in (2, 4) for shape in shapes):
        logging.info("Pictures of %s have an alpha channel, which is dropped.", what)
    height, width, _ = shapes[0]
    alike = all(shape[:2] == (height, width) for shape in shapes)
    fits = count * height * width * channels <= IN_MEMORY
    if alike and fits and image_size in (None, height) and (image_size is None or height == width):
        images = _array(every, (height, width, channels))
        if images is not None:
            return images
    if image_size is None:
        image_size = height if alike and height == width else DEFAULT_SIZE
        logging.info(
            "The pictures of %s stay on disk; the middle of each is scaled to %dx%d, which "
            "`image_size` changes.",
            *(what, image_size, image_size),
        )
    return Pictures(source, image_size, channels)


def _array(pictures: Pictures, shape: tuple[int, int, int]) -> np.ndarray | None:
    """All pictures as they are; None where one has another size."""
    images = np.empty((len(pictures), *shape), np.uint8)
    for i in range(len(images)):
        image = _whole(pictures, i, shape[-1])
        if image.shape != shape:
            return None
        images[i] = image
    return images


def _whole(pictures: Pictures, index: int, channels: int) -> np.ndarray:
    from splitnet_tf.data.decoding import as_it_is

    image = pictures.decode(index, lambda encoded, size, _: as_it_is(encoded, channels))
    if not image.size:
        raise DataError(f"{pictures.source.name(index)} has no pixels; remove it.")
    return image
