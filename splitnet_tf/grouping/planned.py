"""Parts of a plan: the spaces that carry assignments and the kernels to split."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence


@dataclasses.dataclass(frozen=True)
class PlannedSpace:
    """A space that carries assignment variables.

    Attributes:
      name: str, name of the channel space.
      size: int, members of the space: its channels, or the units of channels that stay together.
      level: int, level whose groups its variables count.
      num_groups: int, rows of its variable.
      in_units: bool, whether its members are units of several channels. Defaults to False.
    """

    name: str
    size: int
    level: int
    num_groups: int
    in_units: bool = False

    @property
    def noun(self) -> str:
        """Name of its members, for a sentence."""
        return "units of channels that stay together" if self.in_units else "channels"


@dataclasses.dataclass(frozen=True)
class PlannedKernel:
    """A kernel to split.

    Attributes:
      name: str, name of the call; the layer's name in a flat model.
      kind: str, class name of the layer.
      kernel_shape: (window..., in, out).
      level, num_groups: int, level of its section and groups there.
      in_spaces, out_spaces: names of the spaces along its two channel axes.
      in_widths, out_widths: for each of these spaces, the rows or columns of one of its members.
    """

    name: str
    kind: str
    kernel_shape: tuple[int, ...]
    level: int
    num_groups: int
    in_spaces: tuple[str, ...]
    out_spaces: tuple[str, ...]
    in_widths: tuple[int, ...]
    out_widths: tuple[int, ...]


def kernel_table(kernels: Sequence[PlannedKernel]) -> str:
    """Text of a table of kernels, a line each."""
    rows = [("layer", "kernel", "groups", "input space", "output space")]
    for k in kernels:
        shape = "x".join(str(d) for d in k.kernel_shape)
        spaces = _shorten(k.in_spaces, k.in_widths), _shorten(k.out_spaces, k.out_widths)
        rows.append((k.name, shape, str(k.num_groups), *spaces))
    widths = [max(len(row[i]) for row in rows) for i in range(5)]
    lines = ["  ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)) for row in rows]
    lines.insert(1, "  ".join("-" * w for w in widths))
    return "\n".join(line.rstrip() for line in lines)


def _shorten(spaces: tuple[str, ...], widths: tuple[int, ...]) -> str:
    members = list(dict.fromkeys(zip(spaces, widths, strict=True)))
    names = [name if width == 1 else f"{name} (units of {width})" for name, width in members]
    if len(names) == 1:
        return names[0] if len(spaces) == 1 else f"{names[0]} x{len(spaces)}"
    return "+".join(names[:3]) + (f"+{len(names) - 3} more" if len(names) > 3 else "")
