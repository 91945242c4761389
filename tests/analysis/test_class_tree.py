"""The tree of the classes, level by level."""

import numpy as np

from splitnet_tf.analysis.class_tree import class_tree


def test_every_class_is_in_its_branch_and_in_all_nodes_below():
    tree = class_tree(np.array([2, 0, 1, 1, 2]), (1, 2, 3))
    assert tree.classes == (0, 1, 2, 3, 4)
    assert [(n.name, n.classes) for n in tree.children] == [
        ("branch_0", (1, 2, 3)),
        ("branch_1", (0, 4)),
    ]
    assert [n.name for n in tree.leaves()] == ["branch_0_0", "branch_0_1", "branch_1_0"]
    assert tree.as_markdown("abcde").splitlines() == [
        "- **trunk**",
        "    - **branch_0**",
        "        - **branch_0_0** (1): b",
        "        - **branch_0_1** (2): c, d",
        "    - **branch_1**",
        "        - **branch_1_0** (2): a, e",
    ]


def test_a_tree_without_groups_is_its_trunk():
    tree = class_tree(np.zeros(3, int), (1,))
    assert (tree.name, tree.classes, tree.children) == ("trunk", (0, 1, 2), ())
