"""The archive of CIFAR-100: other archives, pickles, bombs, damage."""

import gzip
import hashlib
import io
import pickle
import random
import tarfile

import pytest

import download_cifar100
from splitnet_tf.data import archive
from splitnet_tf.errors import DataError
from tests.hostile.conftest import Bomb


def add(tar, name, content=b"", **attributes):
    member = tarfile.TarInfo(name)
    member.size = len(content)
    for key, value in attributes.items():
        setattr(member, key, value)
    tar.addfile(member, io.BytesIO(content))


def names_of(count):
    return "".join(f"name_{i}\n" for i in range(count)).encode()


def check(path, **changes):
    """Past the checksum, as if the official one were the file's."""
    content = path.read_bytes()
    given = {"sha256": hashlib.sha256(content).hexdigest(), "size": len(content), **changes}
    archive.check_archive(path, **given)


def refused_archive(path, match, **changes):
    with pytest.raises(DataError, match=match) as caught:
        check(path, **changes)
    assert path.name in str(caught.value) and "\n" not in str(caught.value)


@pytest.fixture
def small_format(monkeypatch):
    """The binary format with fewer images, so that every file is made in no time."""
    monkeypatch.setattr(archive, "IMAGES", {"train.bin": 4, "test.bin": 2})
    monkeypatch.setattr(archive, "_CHUNK", 2)
    monkeypatch.setattr(archive, "MAX_UNPACKED", 2**20)


def write_archive(path, leave_out=(), more=lambda tar: None, first=lambda tar: None):
    with tarfile.open(path, "w:gz") as tar:
        first(tar)
        add(tar, "cifar-100-binary", type=tarfile.DIRTYPE)
        for name, count in archive.IMAGES.items():
            if name not in leave_out:
                add(tar, f"cifar-100-binary/{name}", bytes(count * archive.RECORD))
        for name, count in archive.NAMES.items():
            if name not in leave_out:
                add(tar, f"cifar-100-binary/{name}", names_of(count))
        more(tar)
    return path


def test_the_honest_archive_is_accepted(small_format, tmp_path):
    check(write_archive(tmp_path / "c.tar.gz"))


def test_an_archive_of_full_size_is_accepted(tmp_path):
    path = tmp_path / "c.tar.gz"
    with tarfile.open(path, "w:gz", compresslevel=1) as tar:
        for name, count in archive.IMAGES.items():
            add(tar, f"cifar-100-binary/{name}", bytes(count * archive.RECORD))
        for name, count in archive.NAMES.items():
            add(tar, f"cifar-100-binary/{name}", names_of(count))
    check(path)


def test_what_is_not_the_official_archive_is_refused(small_format, tmp_path):
    path = write_archive(tmp_path / "c.tar.gz")
    refused_archive(path, "its sha256 is .* the official one 00", sha256="0" * 64)
    refused_archive(path, "bytes, the official one 7", size=7)
    official = r"bytes, the official one 168513733; take cifar-100-binary.tar.gz"
    with pytest.raises(DataError, match=official):
        download_cifar100.download(str(tmp_path / "data"), str(path))
    assert not (tmp_path / "data" / "cifar100").exists()
    with pytest.raises(DataError, match="cannot be read: No such file"):
        download_cifar100.download(str(tmp_path / "data"), str(tmp_path / "none.tar.gz"))


def test_a_pickle_bomb_posing_as_cifar_is_refused(small_format, tmp_path, marker):
    bomb = pickle.dumps(Bomb(marker))
    path = tmp_path / "cifar-100-binary.tar.gz"
    path.write_bytes(bomb)
    refused_archive(path, "no gzip file")
    path.write_bytes(gzip.compress(bomb))
    refused_archive(path, "ReadError")
    write_archive(path, ["train.bin"], lambda t: add(t, "cifar-100-binary/train.bin", bomb))
    refused_archive(path, f"'cifar-100-binary/train.bin' has {len(bomb)} bytes, not 4 x 3074")
    padded = bomb.ljust(4 * archive.RECORD, b".")
    write_archive(path, ["train.bin"], lambda t: add(t, "cifar-100-binary/train.bin", padded))
    refused_archive(path, "labels that are none")
    write_archive(path, first=lambda t: add(t, "cifar-100-python/train", bomb))
    refused_archive(path, "holds pickles, which are never read; take cifar-100-binary")
    path = path.rename(tmp_path / "cifar-100-python.tar.gz")
    refused_archive(path, "holds pickles, which are never read; take cifar-100-binary")


FOLDER = "cifar-100-binary"


@pytest.mark.parametrize(
    ("name", "attributes", "match"),
    [
        ("../evil", {}, "OutsideDestinationError"),
        ("cifar-100-binary/../../evil", {}, "OutsideDestinationError"),
        ("/tmp/evil", {}, "'/tmp/evil' is none|AbsolutePathError|OutsideDestination"),
        (f"{FOLDER}/train.bin", {"type": tarfile.SYMTYPE, "linkname": "/etc/passwd"}, "Absolute"),
        (f"{FOLDER}/train.bin", {"type": tarfile.SYMTYPE, "linkname": "../../x"}, "Outside"),
        (f"{FOLDER}/train.bin", {"type": tarfile.SYMTYPE, "linkname": "test.bin"}, "is none of"),
        (f"{FOLDER}/train.bin", {"type": tarfile.LNKTYPE, "linkname": "/etc/passwd"}, "Absolute"),
        (f"{FOLDER}/train.bin", {"type": tarfile.LNKTYPE, "linkname": "x"}, "is none of"),
        (f"{FOLDER}/train.bin", {"type": tarfile.CHRTYPE, "devmajor": 1}, "SpecialFileError"),
        (f"{FOLDER}/train.bin", {"type": tarfile.BLKTYPE, "devmajor": 8}, "SpecialFileError"),
        (f"{FOLDER}/train.bin", {"type": tarfile.FIFOTYPE}, "SpecialFileError"),
        (f"{FOLDER}/evil.sh", {}, "is none of the binary format"),
        ("train.bin", {}, "is none of the binary format"),
        (f"{FOLDER}/sub", {"type": tarfile.DIRTYPE}, "is none of the binary format"),
    ],
)
def test_members_that_are_not_of_the_format_are_refused(
    small_format, tmp_path, name, attributes, match
):
    before = sorted(tmp_path.parent.iterdir())
    path = tmp_path / "c.tar.gz"
    refused_archive(write_archive(path, first=lambda t: add(t, name, **attributes)), match)
    assert sorted(tmp_path.iterdir()) == [path] and sorted(tmp_path.parent.iterdir()) == before


def test_a_decompression_bomb_in_an_archive_is_refused(small_format, tmp_path):
    path = tmp_path / "c.tar.gz"
    bomb = bytes(8 * 2**20)
    names = f"{FOLDER}/fine_label_names.txt"
    write_archive(path, ["fine_label_names.txt"], lambda t: add(t, names, bomb))
    assert path.stat().st_size < 2**15
    refused_archive(path, "more than 4096")
    write_archive(path, first=lambda t: add(t, "././@LongLink", bomb, type=b"L"))
    refused_archive(path, "unpacks to more than CIFAR-100 has")
    path.write_bytes(write_archive(path).read_bytes() + gzip.compress(bomb))
    refused_archive(path, "unpacks to more than CIFAR-100 has")


def test_an_incomplete_archive_is_refused(small_format, tmp_path):
    path = write_archive(tmp_path / "c.tar.gz", ["test.bin"])
    refused_archive(path, "it lacks test.bin")
    again = f"{FOLDER}/train.bin"
    write_archive(path, more=lambda t: add(t, again, bytes(4 * archive.RECORD)))
    refused_archive(path, "is none of the binary format")
    names = f"{FOLDER}/fine_label_names.txt"
    for content in (names_of(99), b"\xff\n" * 100, b"a b\n" * 100):
        write_archive(path, ["fine_label_names.txt"], lambda t, c=content: add(t, names, c))
        refused_archive(path, "100 names|UnicodeDecodeError")


def test_a_damaged_archive_is_refused_and_nothing_else_happens(small_format, tmp_path):
    path = write_archive(tmp_path / "c.tar.gz")
    whole = gzip.decompress(path.read_bytes())
    rng = random.Random(0)
    refused = 0
    for _ in range(150):
        damaged = bytearray(whole[: rng.choice([len(whole), rng.randrange(len(whole))])])
        for _ in range(rng.randrange(1, 8)):
            member = rng.choice([0, 512, 1024 + 12296 + 248])
            damaged[min(member + rng.randrange(512), len(damaged) - 1)] = rng.randrange(256)
        path.write_bytes(gzip.compress(bytes(damaged), 1)[: rng.choice([None, -9])])
        try:
            check(path)
        except DataError:
            refused += 1
    assert refused > 100
