"""Runs of download_cifar100.py after one that failed or was killed; each is a new process."""

import hashlib
import os
import sys
from pathlib import Path

import pytest
from tensorflow_datasets.core.download.checksums import UrlInfo
from tensorflow_datasets.image_classification.cifar import Cifar100

import download_cifar100
from splitnet_tf.cli.program import run_program
from splitnet_tf.data import archive
from splitnet_tf.data.cifar100 import SOURCE
from splitnet_tf.errors import DataError
from tests.cli.forked import call
from tests.hostile.test_archives import write_archive

IMAGES = {"train.bin": 4, "test.bin": 2}


def download(official, address, *flags):
    """The program with six images instead of 60,000 and a file's path as their address.

    While that file is missing, tfds fails as it does without a network.
    """
    sha256 = hashlib.sha256(official.read_bytes()).hexdigest()
    Cifar100.url_infos = {address: UrlInfo(official.stat().st_size, sha256, official.name)}
    original = Cifar100._cifar_info.fget
    Cifar100._cifar_info = property(lambda self: original(self)._replace(url=address))
    archive.IMAGES, archive._CHUNK = IMAGES, 2
    download_cifar100.load_cifar100 = SOURCE.open
    download_cifar100.check = lambda builder, folder: f"{builder.info.splits}"
    sys.argv = ["download_cifar100.py", *flags]
    download_cifar100.define_flags()
    run_program(download_cifar100.main)


class Downloads:
    """Runs the program on one folder; there is no network until the archive is at its address."""

    def __init__(self, folder):
        self.data_dir = folder / "data"
        self.cifar = self.data_dir / "cifar100"
        self.archive = write_archive(folder / "cifar-100-binary.tar.gz")
        self.output = folder / "output"
        self.address = folder / "network" / "cifar-100-binary.tar.gz"

    def connect(self):
        self.address.parent.mkdir()
        os.link(self.archive, self.address)

    def run(self, *flags):
        """Runs the program in a process of its own; (exit code, what it printed)."""
        arguments = (self.archive, str(self.address), f"--data_dir={self.data_dir}", *flags)
        return call(download, arguments, self.output)

    def fail(self):
        code, printed = self.run()
        assert code == 1 and "Traceback" not in printed
        last = printed.splitlines()[-1]
        assert last.startswith(
            f"download_cifar100.py: error: CIFAR-100 could not be downloaded to {self.data_dir} ("
        )
        assert last.endswith("or bring the archive along: --archive=cifar-100-binary.tar.gz.")
        assert self.cifar.is_dir()  # what tfds leaves, and what must not pass for the data

    def assert_all_there(self, done):
        code, printed = done
        assert code == 0, printed
        assert "num_examples=4" in printed and "num_examples=2" in printed
        splits = SOURCE.open(str(self.data_dir)).info.splits
        assert {name: split.num_examples for name, split in splits.items()} == {
            "train": 4,
            "test": 2,
        }


@pytest.fixture
def downloads(tmp_path, monkeypatch):
    monkeypatch.setattr(archive, "IMAGES", IMAGES)
    return Downloads(tmp_path)


def test_a_download_that_failed_is_tried_again(downloads):
    downloads.fail()
    downloads.connect()
    downloads.assert_all_there(downloads.run())
    prepared = {file: file.stat().st_mtime_ns for file in downloads.cifar.rglob("*")}
    again = downloads.run("--archive=none.tar.gz")
    downloads.assert_all_there(again)
    assert "already; none.tar.gz is not read." in again[1]
    assert prepared == {file: file.stat().st_mtime_ns for file in downloads.cifar.rglob("*")}


def test_the_archive_is_taken_whatever_lies_there(downloads):
    """After no network, a kill, and half a copy of the prepared data."""
    downloads.fail()
    version = Path(SOURCE.builder(str(downloads.data_dir)).data_dir)
    for folder in (downloads.cifar / f"incomplete.AB12CD_{version.name}", version):
        folder.mkdir()
        (folder / "cifar100-train.tfrecord-00000-of-00001").write_text(folder.name)
    with pytest.raises(DataError, match="is not complete; run: python download_cifar100.py"):
        SOURCE.open(str(downloads.data_dir))
    done = downloads.run(f"--archive={downloads.archive}")
    downloads.assert_all_there(done)
    assert f"{version} is not complete; moved to {downloads.cifar}/incomplete." in done[1]
    kept = downloads.cifar.glob("incomplete.*/**/cifar100-train.tfrecord-*")
    assert sorted(file.read_text() for file in kept) == [
        version.name,
        f"incomplete.AB12CD_{version.name}",
    ]


def copy_of_links(cifar_dir, folder):
    """The real data as links, to take some away."""
    (description,) = Path(cifar_dir, "cifar100").resolve().glob("*/dataset_info.json")
    version = folder / "cifar100" / description.parent.name
    version.mkdir(parents=True)
    for file in description.parent.iterdir():
        (version / file.name).symlink_to(file)
    return version


def test_a_missing_file_is_found_before_it_is_read(cifar_dir, tmp_path):
    version = copy_of_links(cifar_dir, tmp_path)
    SOURCE.open(str(tmp_path))
    next(version.glob("cifar100-test.tfrecord*")).unlink()
    with pytest.raises(DataError, match="is not complete; run: python download_cifar100.py"):
        SOURCE.open(str(tmp_path))


def test_a_damaged_description_names_the_folder_to_remove(cifar_dir, tmp_path):
    description = copy_of_links(cifar_dir, tmp_path) / "dataset_info.json"
    description.unlink()
    description.write_text("")
    with pytest.raises(DataError, match=f"remove {tmp_path}/cifar100 and run: python download_"):
        SOURCE.open(str(tmp_path))
