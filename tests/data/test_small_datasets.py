"""Digits, MNIST and CIFAR-10: shapes, splits that are always the same, sentences when missing."""

import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from sklearn import datasets

from splitnet_tf import data
from splitnet_tf.errors import DataError
from tests.conftest import ROOT


def folder_of(name):
    """Folder that has a data set; skips, saying so, where there is none."""
    for place in (os.environ.get("SPLITNET_DATA_DIR"), ROOT.parent / "shared" / "datasets"):
        if place and Path(place, name).is_dir():
            return str(place)
    pytest.skip(f"{name} is not here; set SPLITNET_DATA_DIR to the folder that has it")


def test_digits():
    found, again = data.load_dataset("digits"), data.load_digits()
    assert [len(s) for s in (found.train, found.valid, found.test)] == [1257, 180, 360]
    assert found.input_shape == (8, 8, 1) and found.num_classes == 10
    assert found.digest() == again.digest()
    assert found.train.images.max() == 255
    assert all(np.bincount(s.labels).min() > 10 for s in (found.valid, found.test))
    every = np.concatenate([s.images for s in (found.train, found.valid, found.test)])
    sums = np.sort(datasets.load_digits().images.sum(axis=(1, 2)))
    np.testing.assert_allclose(np.sort(every.sum(axis=(1, 2, 3))) * 16 / 255, sums, rtol=0.01)


@pytest.mark.parametrize(
    ("name", "shape", "most", "test"),
    [("mnist", (28, 28, 1), 60_000, 10_000), ("cifar10", (32, 32, 3), 50_000, 10_000)],
)
def test_data_of_tensorflow_datasets(name, shape, most, test):
    found = data.load_dataset(name, folder_of(name))
    total = len(found.train) + len(found.valid)
    assert found.input_shape == shape and len(found.test) == test and total <= most
    counts = np.bincount(np.concatenate([found.train.labels, found.valid.labels]))
    np.testing.assert_array_equal(np.bincount(found.valid.labels), counts // 10)
    assert found.class_names[3] == {"mnist": "3", "cifar10": "cat"}[name]
    assert found.test.images.std() > 30


def test_data_that_is_missing_or_half_there(tmp_path):
    with pytest.raises(DataError, match="MNIST is not in .*; run: python -c .*tfds.load.'mnist'"):
        data.load_dataset("mnist", str(tmp_path))
    source = Path(folder_of("mnist"))
    shutil.copytree(source / "mnist", tmp_path / "mnist")
    for path in tmp_path.glob("mnist/*"):
        path.chmod(0o700)
    (file,) = tmp_path.glob("mnist/*/mnist-test*")
    file.chmod(0o600)
    file.write_bytes(file.read_bytes()[:-100])
    with pytest.raises(DataError, match="MNIST in .* is damaged .*; remove .* and run: python"):
        data.load_dataset("mnist", str(tmp_path))
    file.unlink()
    with pytest.raises(DataError, match="MNIST in .* is not complete; run: python"):
        data.load_dataset("mnist", str(tmp_path))
