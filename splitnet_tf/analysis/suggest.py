"""Places where a model can be cut, and what each cut saves."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

import keras

from splitnet_tf.analysis.budget import Budget
from splitnet_tf.analysis.cost import cost, with_input_size
from splitnet_tf.analysis.tables import text_table
from splitnet_tf.errors import ArgumentError, PlanError
from splitnet_tf.graph.trace import trace
from splitnet_tf.grouping.plan import SplitPlan


@dataclasses.dataclass(frozen=True)
class Cut:
    """One place to cut.

    Attributes:
      start: layer or block to name in a section.
      kernels: int, kernels that are split.
      params, flops: costs of the tree, with equal groups.
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


@dataclasses.dataclass(frozen=True)
class Suggestions:
    """Places where a model can be cut. Prints as a table; unpacks into ``cuts`` and ``refused``.

    Attributes:
      cuts: from the bottom up, one for each set of kernels split.
      refused: starts that cannot be cut at.
      num_groups: int, groups of each cut.
      params, flops: ints, costs of the whole model.
    """

    cuts: tuple[Cut, ...]
    refused: tuple[Refusal, ...]
    num_groups: int
    params: int
    flops: int

    def __iter__(self) -> Iterator[tuple]:
        return iter((self.cuts, self.refused))

    @property
    def sections(self) -> list[tuple[str, int]]:
        """The first cut as sections, as ``group_model`` takes them."""
        return [(self.cuts[0].start, self.num_groups)]

    def within(
        self, max_params: Budget | str | None = None, max_flops: Budget | str | None = None
    ) -> Suggestions:
        """The cuts that keep a budget, the shallowest first: it leaves most of the network whole.

        Args:
          max_params, max_flops: most parameters and FLOPs of a tree, a number or a share of the
            whole model's such as ``"0.5x"``. Default to no limit.

        Raises:
          ArgumentError: a budget that is none, or that no cut keeps.

        >>> model = sn.models.mlp((8, 8), num_classes=4, input_shape=(6,))
        >>> sn.suggest_cuts(model).within(max_params="0.8x").sections
        [('fc2', 2)]
        """
        if not self.cuts:
            reason = f": {self.refused[0].reason}" if self.refused else "."
            raise ArgumentError(f"`model`: it cannot be cut in {self.num_groups} groups{reason}")
        cuts = sorted(self.cuts, key=lambda c: (c.kernels, -c.params))
        for name, budget in (("params", max_params), ("flops", max_flops)):
            if budget is None:
                continue
            budget = budget if isinstance(budget, Budget) else Budget.parse(budget)
            limit = budget.limit(getattr(self, name))
            kept = [cut for cut in cuts if getattr(cut, name) <= limit]
            if not kept:
                least = min((getattr(cut, name) for cut in cuts), default=getattr(self, name))
                raise ArgumentError(
                    f"`max_{name}={budget}`: no cut in {self.num_groups} groups keeps the budget; "
                    f"the smallest tree has {least:,}; allow more, or take another `num_groups`."
                )
            cuts = kept
        return dataclasses.replace(self, cuts=tuple(cuts))

    def to_document(self) -> dict[str, Any]:
        """Cuts and refusals for a JSON document."""
        return {
            "cuts": [dataclasses.asdict(cut) for cut in self.cuts],
            "refused": [dataclasses.asdict(refusal) for refusal in self.refused],
        }

    def __str__(self) -> str:
        rows = [
            (
                c.start,
                c.kernels,
                f"{100 * c.params_above:.1f}%",
                f"{100 * c.flops_above:.1f}%",
                f"{c.params / 1e6:.2f}",
                f"{c.flops / 1e9:.3f}",
            )
            for c in self.cuts
        ]
        header = ("from", "kernels", "params above", "FLOPs above", "10^6 params", "10^9 FLOPs")
        note = f"The last two columns: after a cut in {self.num_groups} equal groups."
        refused = (f"Not from {r.start}: {r.reason}" for r in self.refused)
        return "\n\n".join((text_table(header, rows), note, *refused))


def suggest_cuts(
    model: keras.Model, num_groups: int = 2, input_size: int | None = None
) -> Suggestions:
    """Tries every layer with a kernel, and every block of them, as the start of one section.

    Args:
      model: functional.
      num_groups: int, groups of the section. Defaults to 2.
      input_size: int, see ``cost``. Defaults to None.

    >>> model = sn.models.mlp((8, 8), num_classes=4, input_shape=(6,))
    >>> [(cut.start, cut.params) for cut in sn.suggest_cuts(model).cuts]
    [('fc1', 92), ('fc2', 116), ('logits', 148)]
    """
    if input_size is not None:
        model = with_input_size(model, input_size)
    traced = trace(model)
    whole = cost(model)
    share = {row.name: row for row in whole.layers}
    cuts: dict[tuple[str, ...], Cut] = {}
    refused: list[Refusal] = []
    able = traced.kernels | traced.locked
    names = [c.name for c in traced.graph.calls if c.name in able and "#" not in c.name]
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
    ordered = sorted(cuts.values(), key=lambda c: (-c.kernels, c.start))
    return Suggestions(tuple(ordered), tuple(refused), num_groups, whole.params, whole.flops)


def _starts(names: list[str]) -> list[str]:
    """Names, and before each its beginnings that end at a ``_`` and name a block."""
    found: dict[str, None] = {}
    for name in names:
        parts = name.split("_")
        for n in range(1, len(parts)):
            block = "_".join(parts[:n])
            if block not in names and sum(other.startswith(block + "_") for other in names) > 1:
                found.setdefault(block)
        found.setdefault(name)
    return list(found)
