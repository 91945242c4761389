"""The tree of branches: one stock Keras model, and its nodes."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import keras

from splitnet_tf.errors import SplitNetError
from splitnet_tf.graph.keras_reader import nested_models
from splitnet_tf.graph.mixed_precision import in_bfloat16
from splitnet_tf.storage.models import load_model

TRUNK = "trunk"
HEAD = "head"


@dataclasses.dataclass(frozen=True)
class Feed:
    """Source of one input of a node: output ``index`` of node ``source``.

    ``source`` is None for the tree's own inputs.
    """

    source: str | None
    index: int


@dataclasses.dataclass(frozen=True)
class Node:
    """A node of the tree.

    Attributes:
      name: str, such as ``trunk``, ``branch_0``, ``branch_0_1`` or ``head``.
      model: stock functional ``keras.Model``.
      feeds: ``Feed`` of each of its inputs.
      parent: name of the node below, None for the trunk and the head.
      children: nodes above.
    """

    name: str
    model: keras.Model
    feeds: tuple[Feed, ...]
    parent: str | None
    children: tuple[Node, ...] = ()

    def __call__(self, inputs, training=False):
        """Runs the node's model."""
        return self.model(inputs, training=training)

    def walk(self) -> Iterator[Node]:
        """Yields this node and all above it."""
        yield self
        for child in self.children:
            yield from child.walk()


class SplitTree:
    """View of a split model: everything is read from ``model`` itself.

    Args:
      model: split model, the whole tree.

    Attributes:
      model: ONE stock functional ``keras.Model``, the whole tree; its layers are the nodes.
      trunk: node that all branches share.
      branches: nodes right above the trunk.
      head: node that puts the outputs of the branches together, in class order.

    Raises:
      SplitNetError: the model is not a tree of branches.

    >>> net = sn.models.mlp((8,), num_classes=4, input_shape=(6,))
    >>> plan = sn.SplitPlan.from_sections(net, [("logits", 2)])
    >>> tree = sn.split_model(net, sn.Grouping.even(plan), plan)
    >>> [branch.model.output_shape for branch in tree.branches]
    [(None, 2), (None, 2)]
    >>> print(tree)
    trunk       makes 4, 4  56 weights
      branch_0  makes 2     10 weights
      branch_1  makes 2     10 weights
    head        makes 4      0 weights
    >>> tuple(tree(np.zeros((3, 6))).shape)
    (3, 4)
    """

    def __init__(self, model: keras.Model):
        nodes = nested_models(model)
        found, made_by = {}, {id(x): Feed(None, t) for t, x in enumerate(model.inputs)}
        for nested, inputs, outputs in nodes:
            found[nested.name] = (nested, tuple(made_by[id(x)] for x in inputs))
            made_by.update({id(x): Feed(nested.name, i) for i, x in enumerate(outputs)})
        if TRUNK not in found or HEAD not in found:
            raise SplitNetError(
                f"Model '{model.name}' is not a tree of branches; make one with "
                "splitnet_tf.split_model."
            )
        self.model = model
        self._found = found
        self._compiled: dict[tuple[bool, bool], tuple[list, Callable]] = {}
        self.trunk = self._node(TRUNK, None)
        self.head = self._node(HEAD, None)

    def _node(self, name, parent) -> Node:
        model, feeds = self._found[name]
        prefix = "branch" if name == TRUNK else name
        children = ()
        if name != HEAD:
            children = tuple(
                self._node(other, name)
                for other in sorted(self._found, key=_natural)
                if other.rpartition("_")[0] == prefix and other.rpartition("_")[2].isdigit()
            )
        return Node(name, model, feeds, parent, children)

    @property
    def branches(self) -> tuple[Node, ...]:
        """Nodes right above the trunk."""
        return self.trunk.children

    def nodes(self) -> list[Node]:
        """Lists all nodes: the trunk, the branches from the bottom up, the head."""
        return [*self.trunk.walk(), self.head]

    def leaves(self) -> list[Node]:
        """Lists the branches with none above them."""
        return [n for n in self.trunk.walk() if not n.children and n.name != TRUNK]

    def __call__(self, inputs, training=False):
        return self.model(inputs, training=training)

    def compiled(
        self, jit_compile: bool = False, *, bfloat16: bool = False
    ) -> Callable[[Any], Any]:
        """Makes a compiled function of the tree, for inference.

        A plain call of a Keras model runs every operation by itself, which costs a tree more than
        the network that it was made of: it has more, and smaller ones. The function is traced for
        the first batch of a shape, and follows weights that change. Ask for it again after
        ``quantize`` or ``enable_lora``; otherwise the same function is returned.

        Args:
          jit_compile: bool, whether XLA compiles the function. Defaults to False.
          bfloat16: bool, whether layers of float32 compute in bfloat16; the outputs are float32.
            Defaults to False.

        Returns:
          A function of what ``model`` takes, a batch, to NumPy arrays: ``predict_on_batch`` of a
          Keras model of the same layers.

        >>> net = sn.models.mlp((8,), num_classes=4, input_shape=(6,))
        >>> plan = sn.SplitPlan.from_sections(net, [("logits", 2)])
        >>> tree = sn.split_model(net, sn.Grouping.even(plan), plan)
        >>> forward = tree.compiled()
        >>> forward(np.zeros((3, 6), "float32")).shape
        (3, 4)
        """
        variables, forward = self._compiled.get((jit_compile, bfloat16), ([], None))
        same = len(variables) == len(self.model.variables) and all(
            a is b for a, b in zip(variables, self.model.variables, strict=True)
        )
        if forward is None or not same:
            # A model of its own, as to compile ``model`` would undo how its user compiled it.
            own = keras.Model(self.model.input, self.model.output)
            model = in_bfloat16(own) if bfloat16 else own
            model.compile(jit_compile=jit_compile)
            forward = model.predict_on_batch
            self._compiled[jit_compile, bfloat16] = (list(self.model.variables), forward)
        return forward

    def save(self, path: str | Path) -> None:
        """Saves ``model`` as a ``.keras`` file."""
        self.model.save(path)

    def __str__(self) -> str:
        """The nodes, one a line: indented by level, the shapes they make, their weights."""
        rows = []
        for node in self.nodes():
            makes = ", ".join("x".join(map(str, x.shape[1:])) for x in node.model.outputs)
            name = "  " * node.name.count("_") + node.name
            rows.append((name, f"makes {makes}", f"{node.model.count_params():,} weights"))
        wide = [max(map(len, column)) for column in zip(*rows, strict=True)]
        lines = (f"{a:<{wide[0]}}  {b:<{wide[1]}}  {c:>{wide[2]}}" for a, b, c in rows)
        return "\n".join(lines)

    @classmethod
    def load(cls, path: str | Path, custom_objects: Mapping[str, Any] | None = None) -> SplitTree:
        """Loads a tree from a ``.keras`` file, see ``splitnet_tf.storage.models.load_model``."""
        return cls(load_model(path, custom_objects))


class WholeModel:
    """A model that is not a tree, where a tree is taken: it has no nodes.

    Args:
      model: functional ``keras.Model``, the attribute ``model``.
    """

    def __init__(self, model: keras.Model):
        self.model = model

    def nodes(self) -> list[Node]:
        """Lists no node."""
        return []


def is_tree(model: keras.Model) -> bool:
    """True when a model is a tree of branches."""
    try:
        SplitTree(model)
    except SplitNetError:
        return False
    return True


def _natural(name: str) -> list:
    return [int(part) if part.isdigit() else part for part in name.split("_")]
