"""Channel spaces: sets of tensors whose channel axis must be permuted together.

A tensor's channel axis is described by a ``Layout``: the axis, and the spaces laid end to end
along it. Most tensors have one space; a concatenation has several; flattening an image repeats
its spaces once per position. ``SpaceBook`` is a union-find over spaces that can also split one:
adding ``concat(a, b)`` to ``c`` splits ``c`` into two spaces that join ``a`` and ``b``.

The members of a space are channels, or units of channels that stay side by side. A convolution of
8 groups from 32 channels to 64 makes 8 units, of 4 channels in what it reads and of 8 in what it
makes: one space of two tensors, with the widths 4 and 8.
"""

from __future__ import annotations

import dataclasses
import math

from splitnet_tf.errors import PlanError


class UnalignedUnits(Exception):
    """Raised for tensors that cannot be joined: units of one begin within units of another."""


@dataclasses.dataclass(frozen=True)
class Layout:
    """Channel axis of one tensor.

    Attributes:
      axis: int, index of the channel axis, counted from 0 (the batch axis).
      spaces: ids of the spaces laid end to end along the axis.
      widths: for each space the channels of one of its members. Defaults to 1 each; while a model
        is traced the ids stand for widths as well.
    """

    axis: int
    spaces: tuple[int, ...]
    widths: tuple[int, ...] = ()

    def __post_init__(self):
        if not self.widths:
            object.__setattr__(self, "widths", (1,) * len(self.spaces))


@dataclasses.dataclass(frozen=True)
class Space:
    """Channel space: its name (that of the layer that first made it) and its number of members."""

    name: str
    size: int


class SpaceBook:
    """Spaces while a graph is traced; ``resolve`` turns old ids into present ones."""

    def __init__(self):
        self._spaces: list[Space] = []
        self._ages: list[int] = []  # the elder of two spaces gives its name
        self._replaced_by: dict[int, tuple[tuple[int, int], ...]] = {}

    def new(self, name: str, size: int, age: int | None = None) -> int:
        """Makes a space; ``age`` is the id of the one that it continues."""
        self._spaces.append(Space(name, size))
        self._ages.append(len(self._ages) if age is None else age)
        return len(self._spaces) - 1

    def size(self, spaces: tuple[int, ...]) -> int:
        """Counts the channels of a sequence of ids."""
        return sum(self._spaces[s].size * width for s, width in self.resolve(spaces))

    def resolve(self, spaces: tuple[int, ...]) -> tuple[tuple[int, int], ...]:
        """Returns the present ids, each with its width, for a sequence of ids."""
        out: list[tuple[int, int]] = []
        stack = [(s, 1) for s in reversed(spaces)]
        while stack:
            s, width = stack.pop()
            if s in self._replaced_by:
                stack.extend((t, width * w) for t, w in reversed(self._replaced_by[s]))
            else:
                out.append((s, width))
        return tuple(out)

    def tie(self, spaces: tuple[int, ...], run: int) -> bool:
        """Ties every ``run`` channels that lie side by side into a unit.

        Returns:
          False, with nothing done, where the runs do not fit the spaces, or tie all of one.
        """
        factors: dict[int, int] = {}
        for s, width in self.resolve(spaces):
            factors[s] = math.lcm(factors.get(s, 1), math.lcm(width, run) // width)
        for s, factor in factors.items():
            if self._spaces[s].size % factor or self._spaces[s].size < 2 * factor:
                return False
        for s, factor in factors.items():
            self._coarsen(s, factor)
        return True

    def widened(self, spaces: tuple[int, ...], run: int, made: int) -> tuple[int, ...]:
        """Makes ids for ``made`` channels in place of every ``run``, which ``tie`` has tied."""
        out = []
        for s, width in self.resolve(spaces):
            new = self.new(self._spaces[s].name, self._spaces[s].size * width // run * made, s)
            self._replaced_by[new] = ((s, width // run * made),)
            out.append(new)
        return tuple(out)

    def _coarsen(self, space: int, factor: int) -> int:
        """Ties every ``factor`` members of a space into one."""
        if factor == 1:
            return space
        old = self._spaces[space]
        new = self.new(old.name, old.size // factor, self._ages[space])
        self._replaced_by[space] = ((new, factor),)
        return new

    def unify(self, a: tuple[int, ...], b: tuple[int, ...], where: str) -> None:
        """Makes the two sequences of spaces the same.

        Raises:
          PlanError: their sizes differ.
          UnalignedUnits: units of one begin within units of the other.
        """
        if self.size(a) != self.size(b):
            raise PlanError(
                f"Layer '{where}' joins {self.size(a)} channels with {self.size(b)}; "
                "only tensors with equal channels can be joined."
            )
        while (x := self.resolve(a)) != (y := self.resolve(b)):
            one, two = next(pair for pair in zip(x, y, strict=False) if pair[0] != pair[1])
            if one[0] == two[0]:
                raise UnalignedUnits("joins channels whose units differ in size")
            (s, v), (t, w) = sorted((one, two), key=lambda member: self._ages[member[0]])
            m, n = self._spaces[s].size * v, self._spaces[t].size * w
            if m == n:
                unit = math.lcm(v, w)
                s, t = self._coarsen(s, unit // v), self._coarsen(t, unit // w)
                self._replaced_by[t] = ((s, 1),)
            else:
                self._split(*((s, v, n) if m > n else (t, w, m)))

    def _split(self, space: int, width: int, channels: int) -> None:
        if channels % width:
            raise UnalignedUnits("joins channels whose units do not begin at the same places")
        at, name, size = channels // width, self._spaces[space].name, self._spaces[space].size
        self._replaced_by[space] = (
            (self.new(f"{name}[:{at}]", at), 1),
            (self.new(f"{name}[{at}:]", size - at), 1),
        )

    def final(self, layouts: dict[int, Layout]) -> tuple[dict[int, Layout], tuple[Space, ...]]:
        """Returns layouts with resolved ids, renumbered in order of first use, and their spaces."""
        numbers: dict[int, int] = {}
        done = {}
        for t, layout in layouts.items():
            members = self.resolve(layout.spaces)
            for s, _ in members:
                numbers.setdefault(s, len(numbers))
            spaces, widths = zip(*members, strict=True) if members else ((), ())
            done[t] = Layout(layout.axis, tuple(numbers[s] for s in spaces), widths)
        names: dict[str, int] = {}
        spaces_out = []
        for s in numbers:
            space = self._spaces[s]
            use = names.get(space.name, 0)
            names[space.name] = use + 1
            spaces_out.append(space if use == 0 else Space(f"{space.name}#{use}", space.size))
        return done, tuple(spaces_out)
