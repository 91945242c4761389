"""Cost: parameters and FLOPs of a model, before and after a split."""

from __future__ import annotations

import dataclasses

import keras
from absl import flags

from splitnet_tf import models
from splitnet_tf.analysis import cost, suggest_cuts, text_table
from splitnet_tf.analysis.paper_tables import TABLES, PaperTable
from splitnet_tf.cli.define import MODEL_HELP, define_integer, define_text
from splitnet_tf.cli.output import define_output_flags, show
from splitnet_tf.cli.program import run_program
from splitnet_tf.grouping import Grouping, SplitPlan
from splitnet_tf.models.short_forms import parse_splits
from splitnet_tf.stages.networks import choose_model

FLAGS = flags.FLAGS


def define_flags() -> None:
    define_text("model", "wrn-16-8", MODEL_HELP)
    define_text("splits", None, "Groups: 2-2-2, or <layer>:<groups>,...")
    define_text("grouping", None, "Count these groups; default: equal groups.")
    define_integer("num_classes", 0, "Of the model; 0: the model's own.", 0, 100_000)
    define_integer("image_size", 0, "Height and width; 0: the model's own.", 0, 1024)
    flags.DEFINE_enum("table", None, ["2", "3", "4"], "Count the rows of this table of the paper.")
    flags.DEFINE_boolean("suggest", False, "List where the model can be cut in two groups.")
    define_output_flags()


def load() -> keras.Model:
    """The model that the flags choose."""
    shape = (FLAGS.image_size, FLAGS.image_size, 3) if FLAGS.image_size else None
    return choose_model(FLAGS.model, FLAGS.num_classes or None, shape)


def main() -> None:
    refuse_ignored("table", "model", "splits", "grouping", "num_classes", "image_size", "suggest")
    refuse_ignored("suggest", "splits", "grouping")
    if FLAGS.table:
        show_table(TABLES[FLAGS.table])
    elif FLAGS.suggest:
        show_cuts(load())
    else:
        show_cost()


def refuse_ignored(chosen: str, *others: str) -> None:
    """Raises when a flag would have no effect beside ``chosen``."""
    if not FLAGS[chosen].value:
        return
    for name in others:
        if FLAGS[name].present:
            raise flags.Error(f"--{name} has no effect with --{chosen}; leave one of them out.")


def show_table(table: PaperTable) -> None:
    """The rows of one of the paper's tables, counted."""
    model = models.build(table.model)
    whole = cost(model)
    rows = []
    for row in table.rows:
        sections = parse_splits(row.splits, table.model) if row.splits else []
        found = cost(model, SplitPlan.from_sections(model, sections)) if sections else whole
        rows.append(
            {
                "splits": row.splits or "none",
                "params": found.params,
                "flops": found.flops,
                "published": {"params": row.params, "flops": row.flops},
            }
        )

    def as_table(document):
        def published(value):
            return "" if value is None else f"{value:g}"

        lines = [
            (
                row["splits"],
                f"{row['params'] / 1e6:.3f}",
                f"{100 * (1 - row['params'] / whole.params):.1f}%",
                f"{row['flops'] / 1e9:.3f}",
                f"{100 * (1 - row['flops'] / whole.flops):.1f}%",
                published(row["published"]["params"]),
                published(row["published"]["flops"]),
            )
            for row in document["rows"]
        ]
        header = ("splits", "10^6 params", "fewer", "10^9 FLOPs", "fewer", "paper's", "paper's")
        return f"{table.title}, equal groups\n\n{text_table(header, lines)}\n\n{table.note}"

    show({"table": FLAGS.table, "model": table.model, "rows": rows}, as_table)


def show_cuts(model) -> None:
    """Where the model can be cut."""
    cuts, refused = suggest_cuts(model)
    document = {
        "model": FLAGS.model,
        "cuts": [dataclasses.asdict(cut) for cut in cuts],
        "refused": [dataclasses.asdict(refusal) for refusal in refused],
    }

    def as_table(_):
        rows = [
            (
                c.start,
                c.kernels,
                f"{100 * c.params_above:.1f}%",
                f"{100 * c.flops_above:.1f}%",
                f"{c.params / 1e6:.2f}",
                f"{c.flops / 1e9:.3f}",
            )
            for c in cuts
        ]
        header = ("from", "kernels", "params above", "FLOPs above", "10^6 params", "10^9 FLOPs")
        parts = [text_table(header, rows), "The last two columns: after a cut in 2 equal groups."]
        parts += [f"Not from {r.start}: {r.reason}" for r in refused]
        return "\n\n".join(parts)

    show(document, as_table)


def show_cost() -> None:
    """Before and after one split."""
    plan = grouping = sections = None
    if FLAGS.grouping:
        grouping = Grouping.load(FLAGS.grouping)
        sections = grouping.sections
    if FLAGS.splits:
        sections = parse_splits(FLAGS.splits, FLAGS.model)
    model = load()
    if sections:
        plan = SplitPlan.from_sections(model, sections)
    before = cost(model)
    after = cost(model, plan, grouping) if plan and plan.kernels else before
    document = {
        "model": FLAGS.model,
        "splits": FLAGS.splits,
        "params": {"before": before.params, "after": after.params},
        "flops": {"before": before.flops, "after": after.flops},
        "layers": [
            {
                "name": b.name,
                "kind": b.kind,
                "groups": a.groups,
                "params": {"before": b.params, "after": a.params},
                "flops": {"before": b.flops, "after": a.flops},
            }
            for b, a in zip(before.layers, after.layers, strict=True)
        ],
        "nodes": {name: {"params": p, "flops": f} for name, (p, f) in after.nodes.items()},
    }
    show(document, lambda _: as_text(before, after))


def as_text(before, after) -> str:
    """Layers, nodes and totals as tables."""

    def reduced(b, a):
        return f"{100 * (1 - a / b):.1f}%" if b else ""

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
        f"({reduced(before.params, after.params)} fewer), FLOPs {before.flops / 1e9:.2f} -> "
        f"{after.flops / 1e9:.2f} billion ({reduced(before.flops, after.flops)} fewer)"
    )
    return "\n\n".join(parts)


def cli() -> None:
    """Entry point of ``splitnet-cost``."""
    define_flags()
    run_program(main)


if __name__ == "__main__":
    cli()
