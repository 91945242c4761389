"""Sensitivity: one setting of the recipe changed at a time, the rest as it is."""

from __future__ import annotations

import dataclasses

from absl import flags

from experiments.program import check_choice, define_flags, recipe, run_rows, seeds
from experiments.recipe import Recipe, with_value
from experiments.row import Row
from splitnet_tf.cli.define import define_list
from splitnet_tf.cli.program import run_program

FLAGS = flags.FLAGS

SWEEPS = {
    "plain.epochs": (0.5, 2, 4),
    "group.epochs": (0.5, 2),
    "start": ("random",),
    "start_p": (0.6,),
    "pace": (1, 32),
    "gamma1": (0.1, 10),
    "gamma2": (0.1, 10),
    "gamma3": (1, 100),
    "gamma1_growth": (1, 100),
    "growth_share": (0.1, 1.0),
    "dropout": (0.2,),
    "method": ("balanced",),
    "recalibrate": (0, 10),
    "finetune_from": ("scratch",),
    "finetune.rate": (0.02, 0.2),
    "finetune.l2": (0.0, 1e-4),
}


def varied(base: Recipe, name: str, value) -> Recipe:
    """A recipe with another value; epochs added to a phase are taken from the finetuning."""
    found = with_value(base, name, value)
    if name in ("plain.epochs", "group.epochs"):
        total = base.plain.epochs + base.group.epochs + base.finetune.epochs
        left = total - found.plain.epochs - found.group.epochs
        found = with_value(found, "finetune.epochs", left)
        # The baseline has as many epochs in all, however they are cut up.
        found = with_value(found, "baseline.epochs", total - found.plain.epochs)
    return found


def main() -> None:
    names = check_choice("settings", SWEEPS)
    base, found = recipe(), []
    for seed in seeds():
        row = Row(FLAGS.scale, "deep", seed=seed)
        found.append((row, base))
        for name in names:
            for value in SWEEPS[name]:
                variant = dataclasses.replace(row, variant=f"{name}={value}")
                found.append((variant, varied(base, name, value)))
    run_rows(found)


if __name__ == "__main__":
    define_flags("sweep")
    define_list("settings", list(SWEEPS), "To change, one at a time.")
    run_program(main)
