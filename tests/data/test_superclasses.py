"""Superclasses from class names."""

import numpy as np
import pytest

from splitnet_tf.data import planted_groups
from splitnet_tf.data.superclasses import cifar100_superclasses, planted_superclasses
from splitnet_tf.errors import DataError


def test_twenty_superclasses_of_five_in_any_order():
    names, labels = cifar100_superclasses(["wolf", "apple", "bear", "lion", "pear"])
    assert len(names) == 20
    assert [names[i] for i in labels] == [
        "large_carnivores",
        "fruit_and_vegetables",
        "large_carnivores",
        "large_carnivores",
        "fruit_and_vegetables",
    ]
    with pytest.raises(DataError, match="'unicorn' is none of the classes of CIFAR-100"):
        cifar100_superclasses(["apple", "unicorn"])


@pytest.mark.parametrize(
    "groups, asked, level", [((3,), 2, 0), ((2, 2), 2, 0), ((2, 2), 4, 1), ((2, 3), 5, 1)]
)
def test_planted_groups_are_read_from_the_names(groups, asked, level):
    data = planted_groups(groups, 3, seed=4, num_train=20, num_valid=20, num_test=20)
    names, labels = planted_superclasses(data.class_names, asked)
    np.testing.assert_array_equal(labels, data.groups[level])
    assert len(names) == data.groups[level].max() + 1


def test_names_of_other_data_are_no_planted_classes():
    for names in (["group0-1", "apple"], ["group0-1", "group0.1-2"], ["group-1"]):
        with pytest.raises(DataError, match="none of the classes of planted data"):
            planted_superclasses(names, 2)
