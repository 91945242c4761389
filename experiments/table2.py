"""Table 2: parameters, FLOPs and error of the network whole and split."""

from __future__ import annotations

from absl import flags

from experiments.program import check_choice, chosen_seeds, define_flags, recipe, run_rows
from experiments.recipe import SPLITS, TABLE_SCALES
from experiments.row import Row
from splitnet_tf.cli.define import define_list
from splitnet_tf.cli.program import run_program

FLAGS = flags.FLAGS


def main() -> None:
    rows = check_choice("rows", SPLITS)
    run_rows(
        (Row(FLAGS.scale, name, seed=seed), recipe()) for seed in chosen_seeds() for name in rows
    )


if __name__ == "__main__":
    define_flags(*TABLE_SCALES)
    define_list(
        "rows",
        ["baseline", "shallow", "deep", "hierarchical"],
        "Of the table, or fc or slim: a whole network of the deep tree's parameters.",
    )
    run_program(main)
