"""Levels: trunk, branches or after the merge, for each call of a model."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from splitnet_tf.errors import PlanError
from splitnet_tf.graph.calls import Call, Graph, layer_name
from splitnet_tf.graph.trace import Trace


def calls_named(names: Sequence[str], start: str) -> frozenset[str]:
    """Finds the calls at which a section starts: of the layer of that name, or else of that block.

    A block is the common beginning of names: ``unit_2`` is that of ``unit_2_0_conv_1``, not of
    ``unit_20``. A layer's own name comes first, or ``dense`` would mean ``dense_1`` as well.
    """
    own = frozenset(n for n in names if layer_name(n) == start)
    block = re.compile(re.escape(start) + r"(?![A-Za-z0-9])")
    return own or frozenset(n for n in names if block.match(n))


def levels_reached(
    graph: Graph, sections: tuple[tuple[str, int], ...], groups: tuple[int, ...]
) -> dict[str, int]:
    """Finds the level of each call by the highest section that starts at it or below it.

    Args:
      graph: ``Graph`` of the model.
      sections: (start, number of groups) from the bottom up.
      groups: number of groups of each level.

    Raises:
      PlanError: sections out of order.
    """
    level_of_section = [groups.index(g) if g > 1 else 0 for _, g in sections]
    reached: dict[int, int] = {}  # tensor id to section index
    levels = {}
    names = [call.name for call in graph.calls]
    starts = [calls_named(names, start) for start, _ in sections]
    for call in graph.calls:
        own = max(
            (i for i, started in enumerate(starts) if call.name in started),
            default=-1,
        )
        below = max((reached.get(t, -1) for t in call.inputs), default=-1)
        section = max(own, below)
        if 0 <= own < below:
            raise PlanError(
                f"Section '{sections[own][0]}' lies above '{sections[below][0]}' in "
                "the model; list sections from the bottom up."
            )
        levels[call.name] = level_of_section[section] if section >= 0 else 0
        for t in call.outputs:
            reached[t] = section
    return levels


def call_levels(traced: Trace, reached: Mapping[str, int], tail: int) -> dict[str, int]:
    """Finds the level of each call: trunk, branches, or after the merge of the branches.

    Args:
      traced: ``Trace`` of the model.
      reached: from ``levels_reached``.
      tail: level of the calls after the merge.

    Raises:
      PlanError: a call inside a branch needs all channels.
    """
    levels = dict(reached)
    # A call after the merge of the branches needs all channels: the tail.
    tail_tensors = set()
    for call in traced.graph.calls:
        whole = call.name in traced.whole and levels[call.name] > 0
        if not whole and not tail_tensors.intersection(call.inputs):
            continue
        kernel = call.name in traced.kernels or call.name in traced.locked
        if kernel or _feeds_kernel(traced, call):
            raise PlanError(
                f"Layer '{call.name}' ({type(call.op).__name__}) {_why(traced, call)}, "
                "so that it cannot run inside a branch; start the sections above it."
            )
        levels[call.name] = tail
        tail_tensors.update(call.outputs)
    _promote(traced, levels, tail)
    return levels


def _feeds_kernel(traced: Trace, call: Call) -> bool:
    """True when a kernel that can be split lies above a call."""
    consumers, stack, seen = traced.graph.consumers(), list(call.outputs), set()
    while stack:
        t = stack.pop()
        for i in consumers.get(t, ()):
            if i in seen:
                continue
            seen.add(i)
            if traced.graph.calls[i].name in traced.kernels:
                return True
            stack.extend(traced.graph.calls[i].outputs)
    return False


def _promote(traced: Trace, levels: dict[str, int], tail: int) -> None:
    """Moves flattening and the like up into the branches that alone read it.

    A branch then takes whole channels from below, not scattered positions of them.
    """
    consumers, outputs = traced.graph.consumers(), set(traced.graph.outputs)
    for call in reversed(traced.graph.calls):
        spaces = [s for t in call.outputs for s in traced.layouts[t].spaces]
        if len(set(spaces)) == len(spaces) or call.name in traced.kernels:
            continue
        if call.name in traced.whole:
            continue
        if outputs.intersection(call.outputs) or levels[call.name] == tail:
            continue
        readers = [i for t in call.outputs for i in consumers.get(t, ())]
        above = min((levels[traced.graph.calls[i].name] for i in readers), default=0)
        if above < tail:
            levels[call.name] = max(levels[call.name], above)


def _why(traced: Trace, call: Call) -> str:
    """Says what a call needs, with the reason where no rule describes it."""
    need, reason = "needs all channels at once", traced.opaque.get(call.name)
    return f"{need} ({reason})" if reason else need
