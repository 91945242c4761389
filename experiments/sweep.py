"""Sensitivity: one setting of the recipe changed at a time, the rest as it is."""

from __future__ import annotations

from absl import flags

from experiments.program import check_choice, chosen_seeds, define_flags, run_rows
from experiments.recipe import WHOLE
from experiments.row import Row
from experiments.variants import SWEEPS, recipe_of
from splitnet_tf.cli.define import define_list
from splitnet_tf.cli.program import run_program

FLAGS = flags.FLAGS


def main() -> None:
    variants = [f"{n}={v}" for n in check_choice("settings", SWEEPS) for v in SWEEPS[n]]
    found = []
    for seed in chosen_seeds():
        found += [(Row(FLAGS.scale, w, seed=seed), recipe_of(FLAGS.scale, "")) for w in WHOLE]
        for variant in ("", *variants):
            row = Row(FLAGS.scale, "deep", seed=seed, variant=variant)
            found.append((row, recipe_of(FLAGS.scale, variant)))
    run_rows(found)


if __name__ == "__main__":
    define_flags("sweep", "smoke")
    define_list("settings", list(SWEEPS), "To change, one at a time.")
    run_program(main)
