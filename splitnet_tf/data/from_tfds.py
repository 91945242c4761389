"""Data sets in the files that tensorflow-datasets keeps; nothing is downloaded here."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np

from splitnet_tf.errors import DataError


def default_data_dir() -> str:
    """Returns the folder of data: ``$TFDS_DATA_DIR``, or else ``~/tensorflow_datasets``."""
    return os.environ.get("TFDS_DATA_DIR", str(Path.home() / "tensorflow_datasets"))


@dataclasses.dataclass(frozen=True)
class TfdsSource:
    """One data set of tensorflow-datasets on disk.

    Attributes:
      name: string, its name there, such as ``cifar100``.
      title: string, its name in a sentence.
      remedy: function from a folder to what is to be run to have the data there.
    """

    name: str
    title: str
    remedy: Callable[[str | Path], str]

    def builder(self, data_dir: str):
        """Makes the tfds builder for a folder; the data need not be there.

        Raises:
          DataError: the description of the data there is damaged.
        """
        import tensorflow_datasets as tfds

        try:
            return tfds.builder(self.name, data_dir=data_dir, try_gcs=False)
        except Exception as error:  # tfds has no error class of its own for a damaged folder
            raise DataError(
                f"{self.title} in {data_dir} cannot be read ({type(error).__name__}); remove "
                f"{Path(data_dir, self.name)} and {self.remedy(data_dir)}"
            ) from None

    def open(self, data_dir: str | None):
        """Opens the tfds builder of data that is already on disk.

        Raises:
          DataError: it is not there.
        """
        where = data_dir or default_data_dir()
        if not Path(where, self.name).is_dir():
            raise DataError(f"{self.title} is not in {where}; {self.remedy(where)}")
        builder = self.builder(where)
        if not is_complete(builder):
            raise DataError(f"{self.title} in {where} is not complete; {self.remedy(where)}")
        return builder

    def read(self, builder, split: str, *labels: str, image: str = "image") -> list[np.ndarray]:
        """Reads a split.

        Args:
          builder: tfds builder, from ``open``.
          split: string, name of the split.
          *labels: keys of integers that are read besides the images.
          image: string, key of the images. Defaults to ``"image"``.

        Returns:
          Images uint8 (N, H, W, C), then int32 (N,) for each key.

        Raises:
          DataError: the files are damaged, or hold another number of images than they should.
        """
        import tensorflow as tf

        keys, parts = (image, *labels), []
        try:
            data = builder.as_dataset(split=split, shuffle_files=False, batch_size=None)
            data = data.batch(1000, num_parallel_calls=tf.data.AUTOTUNE)
            for batch in data.as_numpy_iterator():
                parts.append([batch[key] for key in keys])
        except (tf.errors.OpError, OSError) as error:
            raise DataError(
                f"{self.title} in {builder.data_dir} is damaged ({type(error).__name__}); "
                f"{self._again(builder)}"
            ) from None
        images, *found = (np.concatenate(part) for part in zip(*parts, strict=True))
        count = builder.info.splits[split].num_examples
        if len(images) != count:
            raise DataError(
                f"Split '{split}' of {self.title} should hold {count} images but {len(images)} "
                f"could be read; {self._again(builder)}"
            )
        return [images, *(values.astype(np.int32) for values in found)]

    def _again(self, builder) -> str:
        folder = Path(builder.data_dir)  # <data_dir>/<name>/<version>
        return f"remove {folder} and {self.remedy(folder.parents[1])}"


def is_complete(builder) -> bool:
    """Returns True when all of the data set is there; tfds looks for its description only."""
    splits = builder.info.splits
    # Files first: where there are none, tfds would warn on every first download.
    return (
        all(
            split in splits and all(os.path.isfile(file) for file in splits[split].filepaths)
            for split in ("train", "test")
        )
        and builder.is_prepared()
    )
