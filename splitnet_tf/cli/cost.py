"""Cost: parameters and FLOPs of a model, before and after a split or a shrink."""

from __future__ import annotations

import keras
from absl import flags

from splitnet_tf.analysis import suggest_cuts
from splitnet_tf.cli.define import MODEL_HELP, define_budget, define_integer, define_text
from splitnet_tf.cli.output import define_output_flags, show
from splitnet_tf.cli.program import run_program
from splitnet_tf.grouping import Grouping
from splitnet_tf.models.short_forms import parse_splits
from splitnet_tf.sparsity import Selection, apply_selection, predict_changes
from splitnet_tf.stages.costs import compare_cost, count_table
from splitnet_tf.stages.networks import choose_model

FLAGS = flags.FLAGS


def define_flags() -> None:
    define_text("model", "wrn-16-8", f"Model: {MODEL_HELP}")
    define_text(
        "splits", None, "Groups of each section from the bottom up: 2-2-2, or <layer>:<groups>,..."
    )
    define_text(
        "grouping", None, "Grouping file whose groups are counted. Defaults to equal groups."
    )
    define_text("selection", None, "Selection file; what a shrink by it changes is counted.")
    define_integer("num_classes", 0, "Classes of the model; 0 for the model's own.", 0, 100_000)
    define_integer(
        "image_size", 0, "Height and width of the images; 0 for the model's own.", 0, 1024
    )
    define_integer("input_size", 0, "Length of axes of the inputs that have none.", 0, 100_000)
    flags.DEFINE_enum("table", None, ["2", "3", "4"], "Table of the paper whose rows are counted.")
    flags.DEFINE_boolean("suggest", False, "List the places where the model can be cut.")
    define_integer("num_groups", 2, "Groups of each cut of --suggest.", 2, 10_000)
    define_budget("max_params", "Most parameters of the trees of --suggest")
    define_budget("max_flops", "Most FLOPs for one image of the trees of --suggest")
    define_output_flags()


def main() -> None:
    refuse_ignored(
        "table",
        *("model", "splits", "grouping", "selection", "num_classes", "image_size", "suggest"),
        "input_size",
    )
    refuse_ignored("suggest", "splits", "grouping", "selection")
    refuse_ignored("selection", "splits", "grouping", "input_size")
    if FLAGS.table:
        show(count_table(FLAGS.table))
    elif FLAGS.suggest:
        found = suggest_cuts(load(), FLAGS.num_groups, FLAGS.input_size or None)
        if FLAGS.max_params or FLAGS.max_flops:
            found = found.within(FLAGS.max_params, FLAGS.max_flops)
        show(found, {"model": FLAGS.model, **found.to_document()})
    elif FLAGS.selection:
        model = load()
        apply_selection(model, Selection.load(FLAGS.selection))
        found = predict_changes(model)
        show(found, {"model": FLAGS.model, "selection": FLAGS.selection, **found.to_json()})
    else:
        grouping = Grouping.load(FLAGS.grouping) if FLAGS.grouping else None
        sections = parse_splits(FLAGS.splits, FLAGS.model) if FLAGS.splits else ()
        found = compare_cost(load(), sections, grouping, FLAGS.input_size or None)
        show(found, {"model": FLAGS.model, "splits": FLAGS.splits, **found.to_document()})


def load() -> keras.Model:
    """Makes or loads the model that the flags choose."""
    shape = (FLAGS.image_size, FLAGS.image_size, 3) if FLAGS.image_size else None
    return choose_model(FLAGS.model, FLAGS.num_classes or None, shape)


def refuse_ignored(chosen: str, *others: str) -> None:
    """Raises flags.Error when a flag would have no effect beside ``chosen``."""
    if not FLAGS[chosen].value:
        return
    for name in others:
        if FLAGS[name].present:
            raise flags.Error(f"--{name} has no effect with --{chosen}; leave one of them out.")


def cli() -> None:
    """Runs ``splitnet-cost``."""
    define_flags()
    run_program(main)


if __name__ == "__main__":
    cli()
