"""Table 1: learned, semantic, clustered and random groups of the classes."""

from __future__ import annotations

from absl import flags

from experiments.program import check_choice, chosen_seeds, define_flags, recipe, run_rows
from experiments.recipe import SPLITS, TABLE_SCALES, WHOLE
from experiments.row import GROUPINGS, Row
from splitnet_tf.cli.define import define_list
from splitnet_tf.cli.program import run_program

FLAGS = flags.FLAGS
SPLIT = [name for name in SPLITS if name not in WHOLE]


def main() -> None:
    splits, groupings = check_choice("splits", SPLIT), check_choice("groupings", GROUPINGS)
    # Without a plain phase, clusters are those of the trained baseline.
    needs_baseline = "clustering" in groupings and not recipe().plain.epochs
    rows = []
    for seed in chosen_seeds():
        rows += [Row(FLAGS.scale, "baseline", seed=seed)] if needs_baseline else []
        rows += [Row(FLAGS.scale, split, g, seed) for split in splits for g in groupings]
    run_rows((row, recipe()) for row in rows)


if __name__ == "__main__":
    define_flags(*TABLE_SCALES)
    define_list("splits", ["deep"], f"Among {', '.join(SPLIT)}.")
    define_list("groupings", list(GROUPINGS), "Groups of the classes to compare.")
    run_program(main)
