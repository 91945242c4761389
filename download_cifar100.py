"""Downloads CIFAR-100 with tensorflow-datasets and checks it; checks only if all of it is there.

A machine without a network takes ``--archive``: the official archive of the binary version,
brought there by hand. ``--npz`` also writes all of it as one NumPy file, for machines without
TensorFlow.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
from absl import flags

from splitnet_tf.cli.program import run_program
from splitnet_tf.data import Dataset, load_cifar100, save_arrays
from splitnet_tf.data.archive import FOLDER, check_archive
from splitnet_tf.data.cifar100 import SOURCE
from splitnet_tf.data.from_tfds import default_data_dir, is_complete
from splitnet_tf.errors import DataError


def download(data_dir: str, archive: str | None = None) -> None:
    """Downloads and prepares the data; tfds checks the archive's sha256 (168,513,733 bytes).

    An ``incomplete.*`` of an attempt that was killed is neither used nor removed: another process
    may be writing there.

    Args:
      data_dir: to keep the data in.
      archive: the archive, when it is here already; nothing is downloaded then.

    Raises:
      DataError: no network, a full disk, an archive that is not the official one.
    """
    import tensorflow_datasets as tfds

    builder = SOURCE.builder(data_dir)
    try:
        with tempfile.TemporaryDirectory() as folder:
            config = None
            if archive is not None:
                (official,) = builder.url_infos.values()
                check_archive(archive, official.checksum, int(official.size))
                # tfds takes a file of this name from here, and compares its sha256 itself.
                Path(folder, official.filename).symlink_to(Path(archive).resolve())
                config = tfds.download.DownloadConfig(manual_dir=folder)
            set_aside(data_dir)
            # A builder made before that may still describe what lay there.
            SOURCE.builder(data_dir).download_and_prepare(download_config=config)
    except DataError:
        raise
    except Exception as error:  # network, disk and checksum errors are of many classes
        reason = str(error).strip().splitlines()[0] if str(error).strip() else ""
        doing, network, remedy = ("prepared in", "", "")
        if archive is None:
            doing, network = "downloaded to", "the network and "
            remedy = f", or bring the archive along: --archive={FOLDER}.tar.gz"
        raise DataError(
            f"CIFAR-100 could not be {doing} {data_dir} ({type(error).__name__}: "
            f"{reason[:160]}); check {network}that the folder can be written{remedy}."
        ) from None


def set_aside(data_dir: str) -> None:
    """Moves an incomplete data set, such as half a copy, out of the way; nothing of it is lost.

    tfds takes any folder of this name for the data set and would prepare none.
    """
    builder = SOURCE.builder(data_dir)
    found = Path(builder.data_dir)
    if found.exists() and not is_complete(builder):
        aside = Path(tempfile.mkdtemp(prefix="incomplete.", dir=found.parent), found.name)
        found.rename(aside)
        print(f"{found} is not complete; moved to {aside}.")


def check(data: Dataset, data_dir: str) -> str:
    """Counts what is there; returns a line that says so."""
    for name, split, each in (
        ("training", data.train, 450),
        ("validation", data.valid, 50),
        ("test", data.test, 100),
    ):
        counts = np.bincount(split.labels, minlength=100)
        if len(counts) != 100 or (counts != each).any():
            raise DataError(
                f"CIFAR-100 in {data_dir}: the {name} split should hold {each} images of each of "
                f"100 classes but does not; remove {os.path.join(data_dir, 'cifar100')} and run "
                "this again."
            )
    supers = np.bincount(data.superclasses, minlength=20)
    if len(supers) != 20 or (supers != 5).any():
        raise DataError(
            f"CIFAR-100 in {data_dir}: its 20 superclasses should have 5 classes each; remove "
            f"{os.path.join(data_dir, 'cifar100')} and run this again."
        )
    return (
        f"CIFAR-100 in {data_dir}: {len(data.train)} training, {len(data.valid)} validation and "
        f"{len(data.test)} test images of {data.num_classes} classes in {len(supers)} superclasses."
    )


def main() -> None:
    data_dir = flags.FLAGS.data_dir or default_data_dir()
    archive = flags.FLAGS.archive
    if not is_complete(SOURCE.builder(data_dir)):
        download(data_dir, archive)
    elif archive:
        print(f"CIFAR-100 is in {data_dir} already; {archive} is not read.")
    data = load_cifar100(data_dir)
    print(check(data, data_dir))
    if flags.FLAGS.npz:
        save_arrays(data, flags.FLAGS.npz)
        print(f"Written to {flags.FLAGS.npz}.")


def define_flags() -> None:
    flags.DEFINE_string(
        "data_dir", None, "Folder to keep the data in. Defaults to ~/tensorflow_datasets."
    )
    flags.DEFINE_string(
        "archive",
        None,
        f"File {FOLDER}.tar.gz from https://www.cs.toronto.edu/~kriz/cifar.html, for a machine "
        "without a network. Its checksum and every member are checked.",
    )
    flags.DEFINE_string("npz", None, "File to write the data to as well, as .npz.")


if __name__ == "__main__":
    define_flags()
    run_program(main)
