"""Cost: parameters and FLOPs of a model, before and after a split."""

from __future__ import annotations

import keras
from absl import flags

from splitnet_tf import models
from splitnet_tf.analysis import cost, text_table
from splitnet_tf.cli.output import define_output_flags, show
from splitnet_tf.cli.program import run_program
from splitnet_tf.cli.sections import parse_splits
from splitnet_tf.graph import SplitPlan
from splitnet_tf.grouping import Grouping
from splitnet_tf.saving import load_model

FLAGS = flags.FLAGS


def define_flags() -> None:
    flags.DEFINE_string("model", "wrn-16-8", "wrn-16-8, alexnet, mlp, or a .keras file.")
    flags.DEFINE_string("splits", None, "Groups: 2-2-2, or <layer>:<groups>,...")
    flags.DEFINE_string("grouping", None, "Count these groups; default: equal groups.")
    flags.DEFINE_integer(
        "num_classes", 0, "Of the model; 0: 1000 for alexnet, else 100.", lower_bound=0
    )
    flags.DEFINE_integer(
        "image_size", 0, "Height and width; 0: 224 for alexnet, else 32.", lower_bound=0
    )
    define_output_flags()


def load() -> keras.Model:
    """The model that the flags choose."""
    if FLAGS.model.endswith(".keras"):
        return load_model(FLAGS.model)
    large = FLAGS.model.lower() == "alexnet"
    size = FLAGS.image_size or (224 if large else 32)
    classes = FLAGS.num_classes or (1000 if large else 100)
    try:
        return models.build(FLAGS.model, classes, (size, size, 3))
    except ValueError as error:
        raise flags.Error(f"--model={FLAGS.model}: {error}") from None


def main() -> None:
    model = load()
    plan = grouping = None
    if FLAGS.grouping:
        grouping = Grouping.load(FLAGS.grouping)
    if FLAGS.splits:
        sections = parse_splits(FLAGS.splits, FLAGS.model)
        plan = SplitPlan.from_sections(model, sections)
    elif grouping:
        plan = SplitPlan.from_sections(model, grouping.sections)
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
