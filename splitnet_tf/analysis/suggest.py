"""Where a model can be cut, and what each cut saves."""

from __future__ import annotations

import dataclasses

import keras

from splitnet_tf.analysis.cost import cost
from splitnet_tf.errors import PlanError
from splitnet_tf.graph.trace import trace
from splitnet_tf.grouping.plan import SplitPlan


@dataclasses.dataclass(frozen=True)
class Cut:
    """One place to cut.

    Attributes:
      start: what to name in a section.
      kernels: how many kernels are split.
      params, flops: of the tree, with equal groups.
      params_above, flops_above: share of the whole model's at and above the cut, 0 to 1.
    """

    start: str
    kernels: int
    params: int
    flops: int
    params_above: float
    flops_above: float


@dataclasses.dataclass(frozen=True)
class Refusal:
    """A start at which the model cannot be cut, and why."""

    start: str
    reason: str


def suggest_cuts(model: keras.Model, num_groups: int = 2) -> tuple[list[Cut], list[Refusal]]:
    """Tries every layer with a kernel, and every block of them, as the start of one section.

    Args:
      model: functional.
      num_groups: of the section.

    Returns:
      The cuts from the bottom up, one for each set of kernels split, and the refused starts.
    """
    traced = trace(model)
    whole = cost(model)
    share = {row.name: row for row in whole.layers}
    cuts: dict[tuple[str, ...], Cut] = {}
    refused: list[Refusal] = []
    names = [c.name for c in traced.graph.calls if c.name in traced.kernels and "#" not in c.name]
    for start in _starts(names):
        try:
            plan = SplitPlan.from_sections(traced, [(start, num_groups)])
        except PlanError as error:
            refused.append(Refusal(start, str(error)))
            continue
        kernels = tuple(k.name for k in plan.kernels)
        known = cuts.get(kernels)
        if known is not None and len(known.start) <= len(start):
            continue
        after = cost(traced, plan)
        rows = [share[name] for name in kernels]
        cuts[kernels] = Cut(
            start,
            len(kernels),
            after.params,
            after.flops,
            sum(r.params for r in rows) / whole.params,
            sum(r.flops for r in rows) / whole.flops,
        )
    return sorted(cuts.values(), key=lambda c: (-c.kernels, c.start)), refused


def _starts(names: list[str]) -> list[str]:
    """Each name, and before it each beginning of it that ends at a ``_`` and names a block."""
    found: dict[str, None] = {}
    for name in names:
        parts = name.split("_")
        for n in range(1, len(parts)):
            block = "_".join(parts[:n])
            if block not in names and sum(other.startswith(block + "_") for other in names) > 1:
                found.setdefault(block)
        found.setdefault(name)
    return list(found)
