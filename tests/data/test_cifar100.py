"""CIFAR-100 itself, where it is: read once, and once more by the program that writes it."""

import numpy as np
import pytest

from splitnet_tf import data
from splitnet_tf.data.superclasses import cifar100_superclasses
from tests.cli.forked import run


@pytest.fixture(scope="module")
def cifar100(cifar_dir):
    return data.load_dataset("cifar100", cifar_dir)


def test_cifar100(cifar100):
    sizes = [len(s) for s in (cifar100.train, cifar100.valid, cifar100.test)]
    assert sizes == [45000, 5000, 10000]
    assert np.bincount(cifar100.valid.labels).tolist() == [50] * 100
    assert np.bincount(cifar100.superclasses).tolist() == [5] * 20
    wolf, lion = (cifar100.class_names.index(n) for n in ("wolf", "lion"))
    assert cifar100.superclasses[wolf] == cifar100.superclasses[lion]
    assert cifar100.superclass_names[cifar100.superclasses[wolf]] == "large_carnivores"


def test_superclasses_by_name_are_those_of_the_data(cifar100):
    names, labels = cifar100_superclasses(cifar100.class_names)
    assert names == cifar100.superclass_names
    np.testing.assert_array_equal(labels, cifar100.superclasses)


@pytest.mark.slow
def test_it_is_checked_and_written_whole(cifar100, cifar_dir, tmp_path):
    path = tmp_path / "cifar100.npz"
    arguments = [f"--data_dir={cifar_dir}", f"--npz={path}"]
    code, printed = run("download_cifar100.py", arguments, tmp_path / "out")
    assert code == 0, printed
    counts = "45000 training, 5000 validation and 10000 test images of 100 classes"
    assert counts in printed
    found = data.load_arrays(path)
    assert found.digest() == cifar100.digest()
    np.testing.assert_array_equal(found.train.images, cifar100.train.images)
    np.testing.assert_array_equal(found.superclasses, cifar100.superclasses)
