"""Channel spaces: sets of tensors whose channel axis must be permuted together.

A tensor's channel axis is described by a ``Layout``: the axis, and the spaces laid end to end
along it. Most tensors have one space; a concatenation has several; flattening an image repeats
its spaces once per position. ``SpaceBook`` is a union-find over spaces that can also split one:
adding ``concat(a, b)`` to ``c`` splits ``c`` into two spaces that join ``a`` and ``b``.
"""

from __future__ import annotations

import dataclasses

from splitnet_tf.errors import PlanError


@dataclasses.dataclass(frozen=True)
class Layout:
    """Channel axis of one tensor.

    Attributes:
      axis: int, index of the channel axis, counted from 0 (the batch axis).
      spaces: ids of the spaces laid end to end along the axis.
    """

    axis: int
    spaces: tuple[int, ...]


@dataclasses.dataclass(frozen=True)
class Space:
    """Channel space: its name (that of the layer that first made it) and its size."""

    name: str
    size: int


class SpaceBook:
    """Spaces while a graph is traced; ``resolve`` turns old ids into present ones."""

    def __init__(self):
        self._spaces: list[Space] = []
        self._replaced_by: dict[int, tuple[int, ...]] = {}

    def new(self, name: str, size: int) -> int:
        self._spaces.append(Space(name, size))
        return len(self._spaces) - 1

    def size(self, spaces: tuple[int, ...]) -> int:
        return sum(self._spaces[s].size for s in spaces)

    def resolve(self, spaces: tuple[int, ...]) -> tuple[int, ...]:
        """Returns the present ids for a sequence of ids, split spaces expanded."""
        out: list[int] = []
        stack = list(reversed(spaces))
        while stack:
            s = stack.pop()
            if s in self._replaced_by:
                stack.extend(reversed(self._replaced_by[s]))
            else:
                out.append(s)
        return tuple(out)

    def unify(self, a: tuple[int, ...], b: tuple[int, ...], where: str) -> None:
        """Makes the two sequences of spaces the same.

        Raises:
          PlanError: their sizes differ.
        """
        if self.size(a) != self.size(b):
            raise PlanError(
                f"Layer '{where}' joins {self.size(a)} channels with {self.size(b)}; "
                "only tensors with equal channels can be joined."
            )
        while (x := self.resolve(a)) != (y := self.resolve(b)):
            i = next(i for i, (s, t) in enumerate(zip(x, y, strict=False)) if s != t)
            # The earlier space gives its name.
            first, second = sorted((x[i], y[i]))
            m, n = self._spaces[first].size, self._spaces[second].size
            if m == n:
                self._replaced_by[second] = (first,)
            else:
                self._split(*((first, n) if m > n else (second, m)))

    def _split(self, space: int, at: int) -> None:
        name, size = self._spaces[space].name, self._spaces[space].size
        self._replaced_by[space] = (
            self.new(f"{name}[:{at}]", at),
            self.new(f"{name}[{at}:]", size - at),
        )

    def final(self, layouts: dict[int, Layout]) -> tuple[dict[int, Layout], tuple[Space, ...]]:
        """Returns layouts with resolved ids, renumbered in order of first use, and their spaces."""
        numbers: dict[int, int] = {}
        done = {}
        for t, layout in layouts.items():
            spaces = self.resolve(layout.spaces)
            for s in spaces:
                numbers.setdefault(s, len(numbers))
            done[t] = Layout(layout.axis, tuple(numbers[s] for s in spaces))
        names: dict[str, int] = {}
        spaces_out = []
        for s in numbers:
            space = self._spaces[s]
            use = names.get(space.name, 0)
            names[space.name] = use + 1
            spaces_out.append(space if use == 0 else Space(f"{space.name}#{use}", space.size))
        return done, tuple(spaces_out)
