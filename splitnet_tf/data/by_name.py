"""Any image classification set of tensorflow-datasets, by its name; nothing is downloaded."""

from __future__ import annotations

import logging
import os
import re
from pathlib import Path
from typing import Any

import numpy as np

from splitnet_tf.data.dataset import Dataset, Split
from splitnet_tf.data.folder import SUPERCLASSES, read_superclasses
from splitnet_tf.data.from_tfds import TfdsSource, default_data_dir
from splitnet_tf.data.partition import partition
from splitnet_tf.data.picture_sizes import DEFAULT_SIZE, IN_MEMORY
from splitnet_tf.data.pictures import Pictures
from splitnet_tf.data.records import ArrayRecordSource, RecordSource
from splitnet_tf.errors import DataError

SPLITS = {"train": "train", "validation": "valid", "valid": "valid", "val": "valid", "test": "test"}


def load_by_name(
    name: str,
    data_dir: str | None = None,
    image_size: int | None = None,
    validation_share: float | None = None,
) -> Dataset:
    """Loads a data set that tensorflow-datasets has prepared.

    Images of one size that fit into memory are read whole; others stay on disk, and the middle of
    each is scaled.

    Args:
      name: string, ``name``, ``name/config`` or ``name/config:version``.
      data_dir: string, folder of the data. Defaults to ``default_data_dir()``.
      image_size: int, height and width of the images. Defaults to their own where all have one
        size, else to 224.
      validation_share: float, see ``partition``.

    Raises:
      DataError: no such data set, not prepared there, not of images, without labels, or damaged.
    """
    where = data_dir or default_data_dir()
    builder = _builder(name, where)
    image, label = _features(name, builder.info)
    _check_prepared(name, builder, where)
    features = builder.info.features
    height, width, channels = features[image].shape
    if channels == 4:
        logging.info("The images of '%s' have an alpha channel, which is dropped.", name)
    counts = {s: info.num_examples for s, info in builder.info.splits.items() if s in SPLITS}
    one_size = None not in (height, width) and channels in (1, 3)
    fits = one_size and sum(counts.values()) * height * width * channels <= IN_MEMORY
    fits = fits and _format(builder) == "tfrecord" and image_size in (None, height, width)
    if image_size is None and not fits:
        image_size = height if one_size and height == width else DEFAULT_SIZE
        logging.info(
            "The images of '%s' stay on disk; the middle of each is scaled to %dx%d, which "
            "`image_size` changes.",
            *(name, image_size, image_size),
        )
    whole = fits and (image_size is None or height == width)
    source = TfdsSource(name, f"Data set '{name}'", lambda where: _remedy(name, where))
    found = {}
    for split in counts:
        if whole:
            images, labels = source.read(builder, split, label, image=image)
        else:
            images, labels = _on_disk(builder, split, image, label, image_size, where)
        if (labels < 0).all():
            logging.info("Split '%s' of '%s' has no labels and is not used.", split, name)
            continue
        found[SPLITS[split]] = Split(images, labels)
    names = _class_names(name, features[label])
    return Dataset(
        name.replace("/", "-")[:60],
        *partition(name, found, validation_share),
        names,
        *read_superclasses(superclass_file(name, where), names),
    )


def superclass_file(name: str, data_dir: str | None) -> Path:
    """The file that may give a set's superclasses, ``<data_dir>/<name>/superclasses.json``."""
    return Path(data_dir or default_data_dir(), re.split("[/:]", name)[0], SUPERCLASSES)


def _builder(name: str, where: str) -> Any:
    import tensorflow_datasets as tfds

    try:
        builder = tfds.builder(name, data_dir=where, try_gcs=False)
    except Exception as error:  # of many kinds; an unknown name, config or version among them
        text = str(error).rsplit('}": ', 1)[-1].strip() or type(error).__name__
        reason = text.splitlines()[0][:120].rstrip(".")
        unknown = isinstance(error, tfds.core.registered.DatasetNotFoundError)
        if unknown or "builder name string" in str(error):
            reason = "it is neither a folder here nor a data set of tensorflow-datasets"
        raise DataError(
            f"`dataset={name}` cannot be opened ({reason}); give a data set's name, a folder of "
            f"pictures or an .npz file, and its place with `data_dir` (now {where})."
        ) from None
    return builder


def _check_prepared(name: str, builder: Any, where: str) -> None:
    """Raises DataError where files of a data set are missing."""
    if not Path(builder.data_dir).is_dir() or not builder.info.splits:
        raise DataError(f"Data set '{name}' is not in {where}; {_remedy(name, where)}")
    for split, info in builder.info.splits.items():
        missing = [file for file in info.filepaths if not os.path.isfile(file)]
        if split in SPLITS and missing:
            raise DataError(
                f"Data set '{name}' in {where} is not complete: {missing[0]} is missing; "
                f"{_remedy(name, where)}"
            )


def _features(name: str, info: Any) -> tuple[str, str]:
    """Names of the image and of the label among the features of a data set."""
    import tensorflow_datasets as tfds

    features = info.features
    kinds = {"image": tfds.features.Image, "label": tfds.features.ClassLabel}
    chosen = []
    for place, (what, kind) in enumerate(kinds.items()):
        named = [key for key, feature in dict(features).items() if type(feature) is kind]
        supervised = info.supervised_keys or ()
        if len(supervised) == 2 and supervised[place] in named:
            named = [supervised[place]]
        if what in named and len(named) > 1:
            named = [what]
        if len(named) != 1:
            has = f"has {len(named)} of them" if named else "has none"
            raise DataError(
                f"Data set '{name}' is not one of image classification: it must have one {what}, "
                f"and {has}; take another data set, or write its pictures into a folder."
            )
        chosen.append(named[0])
    dtype = np.dtype(features[chosen[0]].np_dtype)
    if dtype != np.uint8:
        raise DataError(
            f"The images of data set '{name}' are {dtype}; only bytes (uint8) can be used: convert "
            "them to an .npz file, say."
        )
    return chosen[0], chosen[1]


def _class_names(name: str, feature: Any) -> tuple[str, ...]:
    names = tuple(feature.names or ())
    if len(names) != feature.num_classes:
        logging.info("Data set '%s' has no class names: the classes are numbered.", name)
        names = tuple(map(str, range(feature.num_classes)))
    return names


def _on_disk(
    builder: Any, split: str, image: str, label: str, image_size: int, where: str
) -> tuple[Pictures, np.ndarray]:
    """The pictures of a split on disk, and their labels."""
    info, name = builder.info.splits[split], builder.info.full_name
    remedy = f"remove {builder.data_dir} and {_remedy(builder.name, where)}"
    kinds = {"tfrecord": RecordSource, "array_record": ArrayRecordSource}
    kind = _format(builder)
    if kind not in kinds:
        raise DataError(
            f"Data set '{name}' is stored as {kind}; prepare it as tfrecord or array_record."
        )
    source = kinds[kind]([str(file) for file in info.filepaths], image, label, remedy)
    if len(source) != info.num_examples:
        raise DataError(
            f"Split '{split}' of data set '{name}' should hold {info.num_examples} images, but "
            f"{len(source)} are there; {remedy}"
        )
    channels = 1 if builder.info.features[image].shape[-1] == 1 else 3
    pictures = Pictures(source, image_size, channels)
    return pictures, source.labels.astype(np.int32)


def _format(builder: Any) -> str:
    """Kind of the files that a data set is stored in."""
    return str(getattr(builder.info.file_format, "value", builder.info.file_format))


def _remedy(name: str, where: str | Path) -> str:
    return (
        'run: python -c "import tensorflow_datasets as tfds; '
        f"tfds.builder('{name}', data_dir='{where}').download_and_prepare()\""
    )
