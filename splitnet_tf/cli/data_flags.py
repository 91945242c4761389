"""Flags of the data: the data set, its batches, preprocessing and augmentation."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

from absl import flags

from splitnet_tf.cli.define import (
    define_augmentation,
    define_float,
    define_integer,
    define_parsed,
    define_text,
)
from splitnet_tf.data import Dataset, check_augmentation, load_dataset
from splitnet_tf.data.channel_statistics import standardize
from splitnet_tf.data.feeds import Feed, SplitFeed
from splitnet_tf.errors import RunError
from splitnet_tf.recipe.augmentation import NONE, augmentation
from splitnet_tf.recipe.preprocessing import KINDS, Preprocessing
from splitnet_tf.stages.run_data import data_file, is_other, is_own, settings_of
from splitnet_tf.stages.run_files import folder_of

FLAGS = flags.FLAGS
flags.disclaim_key_flags()

OF_DATA = "standardize:data"  # with the mean and deviation of the training images
# Flags of the data that a program takes from the run it starts from, with their defaults.
OF_RUN = {
    "dataset": "cifar100",
    "data_dir": None,
    "seed": 0,
    "image_size": None,
    "validation_share": None,
}


def define_dataset_flags(of_run: bool = False) -> None:
    """Flags that name the data set; ``of_run``: by default that of ``--basemodel``."""
    more = " Defaults to that of the run --basemodel, or cifar100." if of_run else ""
    define_text(
        "dataset",
        None if of_run else OF_RUN["dataset"],
        "Data set: cifar100, cifar10, mnist, digits; planted, two groups of classes that share "
        "features; planted-2-2, two groups of two subgroups (--splits=2-4-4 finds both levels); "
        "any set of tensorflow-datasets for image classification by its name, such as "
        "imagenet2012 or name/config:version; a folder of pictures; or an .npz file with your own "
        f"data.{more}",
    )
    define_text(
        "data_dir", None, "Folder of tensorflow-datasets. Defaults to ~/tensorflow_datasets."
    )
    more = " Defaults to that of the run --basemodel, or" if of_run else " Defaults to"
    define_integer(
        "image_size",
        None,
        "Height and width to which pictures of a folder or of tensorflow-datasets are scaled."
        f"{more} their own where all have one size, else 224.",
        *(8, 4096),
    )
    define_float(
        "validation_share",
        None,
        "Share of the training images that is held out for each of validation and test that a "
        f"folder or a set of tensorflow-datasets lacks.{more} 0.1.",
        *(0.001, 0.5),
    )


def define_data_flags(of_run: bool = False) -> None:
    """Flags that choose the data, its preparation, its batches and its order."""
    define_dataset_flags(of_run)
    define_preprocessing_flag(
        f"Preparation of the inputs: {', '.join(KINDS)}; constants as in "
        "standardize:0.49,0.48,0.45:0.2,0.2,0.2, or standardize:data for those of the training "
        "images. Defaults to what the model was trained with, and for a new network of this "
        "package to whiten on images (standardize on coloured ones larger than 64x64), none on "
        "other data."
    )
    define_integer("batch_size", 90, "Examples in a batch.", 1, 1_000_000)
    more = " Defaults to that of the run --basemodel, or 0." if of_run else ""
    define_integer(
        "seed",
        None if of_run else OF_RUN["seed"],
        f"Random seed for weights, data order, augmentation and planted data.{more}",
        0,
        2**31 - 1,
    )


def define_preprocessing_flag(text: str) -> None:
    """``--preprocessing``, with its help."""
    define_parsed("preprocessing", _preprocessing, text)


def define_augment_flag() -> None:
    """``--augment``, which was a switch once."""
    define_augmentation(
        "augment",
        "Augmentation of training images: random crops and flips (crop_flip); two changes of each "
        "batch by Keras' RandAugment after these (rand_augment); random windows, scaled to the "
        "size of the images, and flips (resized_crop); or none. Data that are no images have none.",
    )


def given_preprocessing(
    dataset: Dataset | None, values: flags.FlagValues = FLAGS
) -> Preprocessing | None:
    """The preprocessing that flags give, if any.

    Args:
      dataset: data whose mean and deviation ``standardize:data`` takes; None where there are none.
      values: the flags.

    Raises:
      flags.Error: ``standardize:data`` without data.
    """
    if values.preprocessing != OF_DATA:
        return None if values.preprocessing is None else Preprocessing.parse(values.preprocessing)
    if dataset is None:
        raise flags.Error(f"--preprocessing={OF_DATA} needs data; give the constants.")
    return standardize(dataset.train)


def _preprocessing(text: str) -> None:
    """Raises ArgumentError for a text that is not a preprocessing."""
    if text != OF_DATA:
        Preprocessing.parse(text)


def take_from_run(base: str, run: str | None = None) -> None:
    """Gives the flags of the data that are not given the values of a run.

    Args:
      base: file or run folder that the program starts from.
      run: run folder of the program itself: where it goes on, its own settings come first.
    """
    folder = folder_of(base)
    own, of_base = settings_of(Path(run) if run else None), settings_of(folder)
    for name, default in OF_RUN.items():
        if FLAGS[name].present:
            continue
        value = own.get(name, of_base.get(name, default))
        if name == "dataset" and value is not None:
            value = data_file(folder, value)
        setattr(FLAGS, name, default if value is None else value)


def load_data(base: str | None = None) -> Dataset:
    """The data set that the flags choose.

    Args:
      base: file or run folder whose data it should be. Defaults to none.

    Raises:
      RunError: the file of the data has changed since the run was made.
    """
    names = ("data_dir", "seed", "image_size", "validation_share")
    dataset = load_dataset(FLAGS.dataset, **{name: FLAGS[name].value for name in names})
    if base is not None and is_other(folder_of(base), FLAGS.dataset, dataset):
        folder = folder_of(base)
        sentence = f"`dataset={FLAGS.dataset}` holds other data than {folder} was trained on"
        if not FLAGS["dataset"].present:
            how = "give the data as they were, or `dataset` to use it anyway"
            raise RunError(f"{sentence}; {how}.")
        logging.warning("%s.", sentence)
    return dataset


def data_settings(dataset: Dataset, preprocessing: Preprocessing) -> dict:
    """Settings of the data for ``config.json``; a file may change under a run."""
    found = {"preprocessing": str(preprocessing)}
    if is_own(FLAGS.dataset):
        found["data_digest"] = dataset.digest()
    return found


def today(config: dict[str, Any]) -> dict[str, Any]:
    """Settings of a run of before in today's words: it whitened, and its augmentation was a switch.

    Args:
      config: of a run of a program.
    """
    found = {"preprocessing": "whiten", **config}
    if "augment" in found:
        found["augment"] = augmentation(found["augment"])
    return found


def split_feeds(
    dataset: Dataset, seed: int, preprocessing: Preprocessing
) -> tuple[Feed, Feed, Feed]:
    """Training, validation and test data in batches; ``seed`` is that of the training order.

    Raises:
      DataError: a batch larger than the data, or images too small to be cropped.
    """
    augment = FLAGS.augment
    if augment != NONE and not dataset.has_images:
        logging.info("The data are no images: `augment=none`.")
        augment = NONE
    if augment != NONE:
        check_augmentation(dataset.train.images, augment)
    absent = dataset.absent_classes()
    if absent:
        names = ", ".join(absent[:5]) + (", ..." if len(absent) > 5 else "")
        logging.warning(
            "No training example of %s (%d of %d classes): nothing can be learned of them.",
            *(names, len(absent), dataset.num_classes),
        )
    splits = (dataset.train, dataset.valid, dataset.test)
    return tuple(
        SplitFeed(s, FLAGS.batch_size, seed, augment, preprocessing=preprocessing) for s in splits
    )
