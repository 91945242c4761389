"""Parameters and FLOPs before and after a split, and those of the paper's tables."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import keras

from splitnet_tf import models
from splitnet_tf.analysis import Cost, cost, text_table
from splitnet_tf.analysis.cost import with_input_shapes, with_input_size
from splitnet_tf.analysis.paper_tables import TABLES, PaperRow, PaperTable
from splitnet_tf.data.feeds import Feed
from splitnet_tf.graph.keras_reader import functional_model
from splitnet_tf.grouping import Grouping, SplitPlan
from splitnet_tf.models.short_forms import parse_splits


@dataclasses.dataclass(frozen=True)
class CostChange:
    """Costs of a model before and after a split. Prints as tables of layers, nodes and totals.

    Attributes:
      before, after: costs of the whole model and of its tree.
    """

    before: Cost
    after: Cost

    def to_document(self) -> dict[str, Any]:
        """Totals, layers and nodes for a JSON document."""
        pairs = list(zip(self.before.layers, self.after.layers, strict=True))
        return {
            "params": {"before": self.before.params, "after": self.after.params},
            "flops": {"before": self.before.flops, "after": self.after.flops},
            "layers": [
                {
                    "name": b.name,
                    "kind": b.kind,
                    "groups": a.groups,
                    "params": {"before": b.params, "after": a.params},
                    "flops": {"before": b.flops, "after": a.flops},
                }
                for b, a in pairs
            ],
            "nodes": {n: {"params": p, "flops": f} for n, (p, f) in self.after.nodes.items()},
        }

    def __str__(self) -> str:
        before, after = self.before, self.after
        rows = [
            (b.name, a.groups, b.params, a.params, b.flops, a.flops)
            for b, a in zip(before.layers, after.layers, strict=True)
        ]
        total = ("total", "", before.params, after.params, before.flops, after.flops)
        header = ("layer", "groups", "params", "after", "FLOPs", "after")
        parts = [text_table(header, [*rows, total])]
        if len(after.nodes) > 1:
            nodes = [
                (name, p, f"{100 * p / before.params:.1f}%", f, f"{100 * f / before.flops:.1f}%")
                for name, (p, f) in after.nodes.items()
            ]
            parts.append(text_table(("node", "params", "of whole", "FLOPs", "of whole"), nodes))
        parts.append(
            f"params {before.params / 1e6:.2f} -> {after.params / 1e6:.2f} million "
            f"({_fewer(before.params, after.params)} fewer), FLOPs {before.flops / 1e9:.2f} -> "
            f"{after.flops / 1e9:.2f} billion ({_fewer(before.flops, after.flops)} fewer)"
        )
        return "\n\n".join(parts)


def cost_on(model: keras.Model, feed: Feed) -> Cost:
    """Counts a model; open lengths of its inputs are those of the first example of data.

    Args:
      model: functional ``keras.Model``.
      feed: read only where an input has an open length, such as height and width.

    Raises:
      PlanError: see ``cost``.
    """
    functional = functional_model(model)
    if not any(None in x.shape[1:] for x in functional.inputs):
        return cost(model)
    given = feed.first()[0]
    if isinstance(given, dict) and not isinstance(functional.input, dict):
        given = [given[x.name] for x in functional.inputs]
    shapes = [tuple(x.shape)[1:] for x in keras.tree.flatten(given)]
    return cost(with_input_shapes(model, shapes))


def compare_cost(
    model: keras.Model,
    sections: Sequence[tuple[str, int]] = (),
    grouping: Grouping | None = None,
    input_size: int | None = None,
) -> CostChange:
    """Counts a model before and after a split.

    Args:
      model: functional.
      sections: (first layer, number of groups) from the bottom up. Defaults to those of
        ``grouping``, or to no split.
      grouping: groups to count. Defaults to equal groups.
      input_size: int, see ``cost``. Defaults to None.

    Raises:
      PlanError, GroupingError: a model that cannot be split so, or groups of another model.
    """
    if input_size is not None:
        model = with_input_size(model, input_size)
    before = cost(model)
    sections = sections or (grouping.sections if grouping is not None else ())
    plan = SplitPlan.from_sections(model, sections) if sections else None
    if plan is None or not plan.kernels:
        return CostChange(before, before)
    return CostChange(before, cost(model, plan, grouping))


@dataclasses.dataclass(frozen=True)
class CountedTable:
    """Costs of the rows of one of the paper's tables. Prints beside what the paper has.

    Attributes:
      number: of the table, ``"2"``, ``"3"`` or ``"4"``.
      whole: cost of the unsplit model.
      rows: cost of each row's tree, with equal groups.
    """

    number: str
    whole: Cost
    rows: tuple[Cost, ...]

    @property
    def table(self) -> PaperTable:
        """The table as the paper prints it."""
        return TABLES[self.number]

    def to_document(self) -> dict[str, Any]:
        """The rows, counted and published, for a JSON document."""
        rows = [
            {
                "splits": row.splits or "none",
                "params": found.params,
                "flops": found.flops,
                "published": {
                    "params": row.params,
                    "flops": row.flops,
                    "test_error": row.error,
                    "test_error_random_groups": row.random_error,
                },
            }
            for row, found in zip(self.table.rows, self.rows, strict=True)
        ]
        return {"table": self.number, "model": self.table.model, "rows": rows}

    def __str__(self) -> str:
        lines = [
            (
                row.splits or "none",
                f"{found.params / 1e6:.3f}",
                _fewer(self.whole.params, found.params),
                f"{found.flops / 1e9:.3f}",
                _fewer(self.whole.flops, found.flops),
                *("" if value is None else f"{value:g}" for value in _published(row)),
            )
            for row, found in zip(self.table.rows, self.rows, strict=True)
        ]
        header = ("splits", "10^6 params", "fewer", "10^9 FLOPs", "fewer", *PUBLISHED)
        title = f"{self.table.title}, equal groups; the last four columns are the paper's"
        return f"{title}\n\n{text_table(header, lines)}\n\n{self.table.note}"


PUBLISHED = ("10^6 params", "10^9 FLOPs", "error %", "random groups")


def _published(row: PaperRow) -> tuple[float | None, ...]:
    return (row.params, row.flops, row.error, row.random_error)


def count_table(number: str) -> CountedTable:
    """Counts the rows of one of the paper's tables.

    Args:
      number: ``"2"``, ``"3"`` or ``"4"``.
    """
    table = TABLES[number]
    model = models.build(table.model)
    sections = [parse_splits(row.splits, table.model) if row.splits else () for row in table.rows]
    rows = tuple(compare_cost(model, found).after for found in sections)
    return CountedTable(number, cost(model), rows)


def _fewer(before: float, after: float) -> str:
    return f"{100 * (1 - after / before):.1f}%" if before else ""
