"""What the tree lacks of the whole network, by the network's width and the length of training."""

from __future__ import annotations

from absl import flags

from experiments.program import check_choice, chosen_seeds, define_flags, run_rows
from experiments.row import Row
from experiments.variants import GAP_SPLITS, GAPS, recipe_of
from splitnet_tf.cli.define import define_list
from splitnet_tf.cli.program import run_program

FLAGS = flags.FLAGS


def main() -> None:
    varied = [(value, name) for name in check_choice("by", GAPS) for value in GAPS[name]]
    variants = [f"{name}={value}" for value, name in sorted(varied)]  # the cheap ones first
    run_rows(
        (Row(FLAGS.scale, split, seed=seed, variant=variant), recipe_of(FLAGS.scale, variant))
        for seed in chosen_seeds()
        for variant in ("", *variants)
        for split in GAP_SPLITS
    )


if __name__ == "__main__":
    define_flags("sweep", "smoke")
    define_list("by", list(GAPS), "What to change, one at a time.")
    run_program(main)
