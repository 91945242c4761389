"""The tree of branches with the classes of each node."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence

import numpy as np

from splitnet_tf.grouping.hierarchy import node_names, spread


@dataclasses.dataclass(frozen=True)
class ClassNode:
    """A node of the tree.

    Attributes:
      name: of the node, such as ``branch_1_0``.
      classes: numbers of the classes of the node and of all nodes above it, ascending.
      children: the nodes above; none for a leaf.
    """

    name: str
    classes: tuple[int, ...]
    children: tuple[ClassNode, ...] = ()

    def leaves(self) -> Iterator[ClassNode]:
        """Yields the nodes without children, from left to right."""
        if not self.children:
            yield self
        for child in self.children:
            yield from child.leaves()

    def as_markdown(self, class_names: Sequence[str]) -> str:
        """Writes the tree as a list, a leaf with its classes.

        Args:
          class_names: one a class.
        """

        def lines(node: ClassNode, indent: str) -> Iterator[str]:
            members = ""
            if not node.children:
                named = ", ".join(class_names[c] for c in node.classes)
                members = f" ({len(node.classes)}): {named}"
            yield f"{indent}- **{node.name}**{members}"
            for child in node.children:
                yield from lines(child, f"{indent}    ")

        return "\n".join(lines(self, ""))


def class_tree(labels: np.ndarray, groups: Sequence[int]) -> ClassNode:
    """Builds the tree of a grouping of the classes.

    Args:
      labels: int (classes,), group of each class at the top level.
      groups: number of groups of each level, from the trunk (1) up.
    """
    groups, top = tuple(groups), len(groups) - 1
    names = node_names(groups)

    def node(level: int, group: int) -> ClassNode:
        if level == top:
            return ClassNode(names[level, group], tuple(np.flatnonzero(labels == group).tolist()))
        parents = spread(groups[level + 1], groups[level])
        above = tuple(node(level + 1, g) for g, parent in enumerate(parents) if parent == group)
        classes = sorted(c for child in above for c in child.classes)
        return ClassNode(names[level, group], tuple(classes), above)

    return node(0, 0)
