"""Groups found against planted ones, level by level."""

import numpy as np

from splitnet_tf.grouping import Grouping
from splitnet_tf.grouping.space_groups import SpaceGroups
from splitnet_tf.stages.class_groups import compare_levels

FINE = np.array([3, 0, 1, 2, 2, 1, 0, 3, 0, 1, 2, 3])
PLANTED = (FINE // 2, FINE)


def grouping(labels, *counts):
    sections = tuple((f"layer{i}", n) for i, n in enumerate(counts))
    space = SpaceGroups.from_labels("logits", labels, counts[-1])
    return Grouping("made", sections, "argmax", (space,), "logits")


def found(labels, *counts):
    levels = compare_levels(grouping(labels, *counts), PLANTED)
    return [(level.planted, level.found, round(level.agreement, 6)) for level in levels]


def test_each_level_is_compared_with_the_tree_s_of_as_many_groups():
    assert found(FINE, 2, 4, 4) == [(2, 2, 1), (4, 4, 1)]
    renamed = np.array([2, 3, 1, 0])[FINE]  # other names for the same tree
    assert found(renamed, 2, 4, 4) == [(2, 2, 1), (4, 4, 1)]


def test_mixed_subgroups_of_the_right_groups_are_seen():
    mixed = FINE.copy()
    mixed[[1, 2]] = mixed[[2, 1]]  # one class each of two subgroups of a group
    (coarse, fine) = found(mixed, 2, 4, 4)
    assert coarse == (2, 2, 1) and fine[:2] == (4, 4) and 0.5 < fine[2] < 0.9


def test_right_subgroups_in_the_wrong_groups_are_seen():
    crossed = np.array([0, 2, 1, 3])[FINE]
    assert found(crossed, 2, 4, 4) == [(2, 2, 0), (4, 4, 1)]


def test_a_tree_of_other_counts_is_compared_with_the_nearest_level():
    assert found(FINE // 2, 2, 2, 2) == [(2, 2, 1)]
    assert [level[:2] for level in found(np.arange(12) % 3, 3, 3)] == [(2, 3)]
    assert [level[:2] for level in found(np.arange(12) // 2, 6, 6)] == [(4, 6)]
