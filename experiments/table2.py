"""Table 2: parameters, FLOPs and error of the network whole and split."""

from __future__ import annotations

from absl import flags

from experiments.program import check_choice, chosen_seeds, define_flags, run_rows
from experiments.recipe import SCALES, SPLITS, TABLE_SCALES, Recipe
from experiments.row import Row
from splitnet_tf.cli.define import define_list
from splitnet_tf.cli.program import run_program

FLAGS = flags.FLAGS


def table2_rows(scale: str, seeds: list[int], splits: list[str]) -> list[tuple[Row, Recipe]]:
    """The rows of the table."""
    return [(Row(scale, split, seed), SCALES[scale]) for seed in seeds for split in splits]


def main() -> None:
    run_rows(table2_rows(FLAGS.scale, chosen_seeds(), check_choice("rows", SPLITS)))


if __name__ == "__main__":
    define_flags(*TABLE_SCALES)
    define_list(
        "rows",
        ["baseline", "shallow", "deep", "hierarchical"],
        "Rows of the table, or fc, or slim: a whole network of the deep tree's parameters.",
    )
    run_program(main)
