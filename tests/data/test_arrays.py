"""A data set as one file: what is written comes back, what is not one is refused."""

import subprocess
import sys
import zipfile

import numpy as np
import pytest

from splitnet_tf import data
from splitnet_tf.errors import DataError
from tests.conftest import ROOT


@pytest.fixture
def arrays():
    rng = np.random.default_rng(0)
    found = {"class_names": np.array(["a", "b", "c"])}
    for split, count in (("train", 6), ("valid", 3), ("test", 4)):
        found[f"{split}_images"] = rng.integers(0, 256, (count, 4, 5, 3)).astype(np.uint8)
        found[f"{split}_labels"] = rng.integers(0, 3, count)
    return found


def test_what_is_written_comes_back(tmp_path):
    planted = data.planted_groups((2,), num_train=20, num_valid=10, num_test=10)
    data.save_arrays(planted, tmp_path / "planted.npz")
    found = data.load_dataset(str(tmp_path / "planted.npz"))
    assert found.name == "planted" and found.class_names == planted.class_names
    np.testing.assert_array_equal(found.superclasses, planted.superclasses)
    assert found.superclass_names == planted.superclass_names
    for name in ("train", "valid", "test"):
        one, other = getattr(found, name), getattr(planted, name)
        np.testing.assert_array_equal(one.images, other.images)
        np.testing.assert_array_equal(one.labels, other.labels)
        assert one.labels.dtype == np.int32


def test_data_of_ones_own(arrays, tmp_path):
    np.savez(tmp_path / "own.npz", **arrays)
    found = data.load_dataset(str(tmp_path / "own.npz"))
    assert found.superclasses is None and found.class_names == ("a", "b", "c")
    np.testing.assert_array_equal(found.test.labels, arrays["test_labels"])


@pytest.mark.parametrize(
    ("shape", "given", "read"),
    [
        ((4, 5, 3), "float64", "float32"),
        ((4, 5, 3), "float32", "float32"),
        ((7,), "int64", "int32"),
        ((7,), "uint8", "int32"),
        ((7, 2), "float16", "float32"),
    ],
)
def test_floats_and_data_that_are_no_images(shape, given, read, arrays, tmp_path):
    rng = np.random.default_rng(0)
    for split in ("train", "valid", "test"):
        count = len(arrays[f"{split}_labels"])
        arrays[f"{split}_images"] = rng.integers(0, 99, (count, *shape)).astype(given)
    np.savez(tmp_path / "own.npz", **arrays)
    found = data.load_arrays(tmp_path / "own.npz")
    assert found.train.images.dtype == read and found.has_images == (len(shape) == 3)
    np.testing.assert_array_equal(found.train.images, arrays["train_images"])


def test_several_labels_an_example(arrays, tmp_path):
    for split in ("train", "valid", "test"):
        labels = np.eye(3, dtype=bool)[arrays[f"{split}_labels"]]
        arrays[f"{split}_labels"] = labels | np.array([True, False, False])
    np.savez(tmp_path / "own.npz", **arrays)
    found = data.load_arrays(tmp_path / "own.npz")
    assert found.multi_label and found.test.labels.sum() == arrays["test_labels"].sum()
    arrays["test_labels"] = arrays["test_labels"].astype(int) + 1
    np.savez(tmp_path / "own.npz", **arrays)
    with pytest.raises(DataError, match="labels of several classes must be 0 or 1, .4, 3."):
        data.load_arrays(tmp_path / "own.npz")


def test_a_digest_is_of_all_that_counts_but_the_name(arrays, tmp_path):
    def digest(name="own", **more):
        np.savez(tmp_path / f"{name}.npz", **{**arrays, **more})
        return data.load_dataset(str(tmp_path / f"{name}.npz")).digest()

    assert digest() == digest("renamed") and len(digest()) == 16
    images = arrays["valid_images"].copy()
    images[0, 0, 0, 0] ^= 1
    superclasses = {"superclass_names": np.array(["x", "y"])}
    changes = (
        {"valid_images": images},
        {"test_labels": (arrays["test_labels"] + 1) % 3},
        {"class_names": np.array(["a", "c", "b"])},
        {**superclasses, "superclasses": np.array([0, 0, 1])},
        {**superclasses, "superclasses": np.array([0, 1, 1])},
    )
    assert len({digest(), *(digest(**change) for change in changes)}) == 1 + len(changes)


def without(name):
    return lambda a: a.pop(name)


def with_(**more):
    return lambda a: a.update(more)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (without("valid_labels"), "see 'valid_labels'"),
        (with_(extra=np.zeros(2)), "see 'extra'"),
        (with_(superclasses=np.array([0, 0, 1])), "one without the other"),
        (
            with_(superclasses=np.array([0, 0, 2]), superclass_names=np.array(["x", "y"])),
            "of the 2",
        ),
        (with_(superclasses=np.array([0, 0]), superclass_names=np.array(["x", "y"])), "each class"),
        (with_(class_names=np.array(["a", "b", "a"])), "class_names must be .*; 'a' is there more"),
        (
            with_(superclasses=np.array([0, 0, 1]), superclass_names=np.array(["x", "x"])),
            "superclass_names must be different from each other; 'x' is there more than once",
        ),
        (with_(class_names=np.arange(3)), "'class_names' must be a row of names"),
        (with_(class_names=np.array(["a", None, 3], object)), "Object arrays cannot be loaded"),
        (with_(train_images=np.array([object()])), "Object arrays cannot be loaded"),
        (with_(train_labels=np.zeros(6)), "'train_labels' must be a row of integers"),
        (with_(train_labels=np.full(6, 2**32)), "a number of 4294967296, beyond"),
        (with_(train_labels=np.full(6, 2**64 - 1, np.uint64)), "a number of 18446744073709551615"),
        (with_(train_labels=np.full(6, 1 - 2**32)), "a number of -4294967295, beyond"),
        (with_(train_labels=np.full(6, 3)), "labels must lie from 0 to 2"),
        (
            with_(test_images=np.zeros((4, 4, 5, 3))),
            "images are float32 .4, 5, 3., those of the train",
        ),
    ],
)
def test_what_does_not_fit_is_refused(change, sentence, arrays, tmp_path):
    change(arrays)
    np.savez(tmp_path / "own.npz", **arrays)
    with pytest.raises(DataError, match=sentence):
        data.load_arrays(tmp_path / "own.npz")


def test_files_that_are_none_are_refused(arrays, tmp_path):
    path = tmp_path / "own.npz"
    with pytest.raises(DataError, match="does not exist; download_cifar100.py --npz="):
        data.load_arrays(path)
    path.write_bytes(b"not a zip")
    with pytest.raises(DataError, match="damaged or no .npz file"):
        data.load_arrays(path)
    np.savez_compressed(path, **arrays)  # zeros would unpack to any size
    with pytest.raises(DataError, match="compressed; write it with numpy.savez"):
        data.load_arrays(path)
    np.savez(path, **arrays)
    whole = path.read_bytes()
    path.write_bytes(whole[:-40])
    with pytest.raises(DataError, match="damaged"):
        data.load_arrays(path)
    at = whole.index(arrays["train_images"].tobytes())
    path.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
    with pytest.raises(DataError, match="damaged"):
        data.load_arrays(path)
    with zipfile.ZipFile(path, "w") as archive:
        for name in arrays:
            archive.writestr(f"{name}.npy", b"no array")
    with pytest.raises(DataError, match="refused"):
        data.load_arrays(path)
    with pytest.raises(DataError, match="cannot be written"):
        data.save_arrays(data.planted_groups(num_train=9), "/proc/nowhere/own.npz")


def test_it_is_read_without_tensorflow(arrays, tmp_path):
    np.savez(tmp_path / "own.npz", **arrays)
    program = (
        "import sys; from splitnet_tf import data\n"
        f"print(data.load_dataset({str(tmp_path / 'own.npz')!r}).num_classes)\n"
        "assert 'tensorflow' not in sys.modules"
    )
    found = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env={"KERAS_BACKEND": "jax", "PATH": "/usr/bin"},
    )
    assert found.stdout == "3\n", found.stderr
