"""Sensitivity: one setting of the recipe changed at a time, the rest as it is."""

from __future__ import annotations

from absl import flags

from experiments.program import check_choice, chosen_seeds, define_flags, run_rows
from experiments.recipe import Recipe
from experiments.row import Row
from experiments.variants import GAP_SPLITS, GAPS, SWEEPS, recipe_of
from splitnet_tf.cli.define import define_list
from splitnet_tf.cli.program import run_program

FLAGS = flags.FLAGS
KNOWN = {**SWEEPS, **GAPS}


def sweep_rows(scale: str, seeds: list[int], settings: list[str]) -> list[tuple[Row, Recipe]]:
    """The rows of the sweep, the whole networks first; each of the gap has its whole networks."""
    variants = [(name, f"{name}={value}") for name in settings for value in KNOWN[name]]
    chosen = [(split, "") for split in GAP_SPLITS]
    for name, variant in variants:
        chosen += [(split, variant) for split in (GAP_SPLITS if name in GAPS else ("deep",))]
    return [
        (Row(scale, split, seed, variant), recipe_of(scale, variant))
        for seed in seeds
        for split, variant in chosen
    ]


def main() -> None:
    run_rows(sweep_rows(FLAGS.scale, chosen_seeds(), check_choice("settings", KNOWN)))


if __name__ == "__main__":
    define_flags("sweep", "smoke")
    define_list(
        "settings",
        list(SWEEPS),
        "Settings to change, one at a time: of the recipe, or width, longer.",
    )
    run_program(main)
