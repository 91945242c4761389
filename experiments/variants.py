"""Variants of a recipe: one setting changed at a time, for the sweep and the gap's program."""

from __future__ import annotations

import dataclasses
from typing import Any

from experiments.recipe import PHASES, SCALES, TEACHERS, Recipe, value_of, with_value

WORST = "worst"  # groups of the classes that tear every superclass apart
SWEEPS = {
    "plain.epochs": (2, 4),
    "group.epochs": (0.5, 2),
    "start": ("random", "exchange"),
    "start_p": (0.6,),
    "pace": (1, 32),
    "gamma1": (0.1, 10.0),
    "gamma2": (0.1, 10.0),
    "gamma3": (1.0, 100.0),
    "gamma1_growth": (1.0, 100.0),
    "growth_share": (0.1, 1.0),
    "dropout": (0.2,),
    "method": ("balanced",),
    "finetune_from": ("scratch",),
    "classes": ("semantic", "random", WORST),
    "gates": (True,),
    "gamma2_delay": (0.5,),
    "group_loss": (0.5,),
    "label_smoothing": (0.1,),
    "finetune.ema": (0.99,),
    "augment": ("rand_augment",),
    "finetune.rate": (0.02, 0.2),
    "finetune.l2": (0.0, 1e-4),
}

# Not part of a recipe to choose, but of the task: the network's width, and ``longer``, all phases
# that many times as long. The whole network is compared with a narrower one and with the tree.
GAPS = {"width": (2, 4), "longer": (2, 4)}
GAP_SPLITS = ("baseline", "slim", "deep")

# Variants of the tables of teachers, and the settings that they change.
TAUGHT = {
    "teacher": {},
    "half-teacher": {"teacher_weight": 0.5},
    "groups": {"group_loss": 0.5},
    "teacher-groups": {"group_loss": 0.5},
    **{f"classes-{name}": {"classes": name} for name in ("semantic", "random", WORST)},
    "gates": {"gates": True},
    "exchange": {"start": "exchange"},
}


def varied(base: Recipe, name: str, value: Any) -> Recipe:
    """A recipe with another value of one setting, and, but for ``longer``, as many epochs in all.

    Epochs added to a phase are taken from the finetuning; a tree that starts from scratch is
    finetuned for all of them.
    """
    if name == "longer":
        for phase in PHASES:
            drops = tuple(value * d for d in value_of(base, f"{phase}.drops"))
            epochs = value * value_of(base, f"{phase}.epochs")
            longer = dataclasses.replace(getattr(base, phase), epochs=epochs, drops=drops)
            base = with_value(base, phase, longer)
        return base
    found = with_value(base, name, value)
    total = base.plain.epochs + base.group.epochs + base.finetune.epochs
    if name in ("plain.epochs", "group.epochs"):
        left = total - found.plain.epochs - found.group.epochs
        found = with_value(found, "finetune.epochs", left)
        # The baseline has as many epochs in all, however they are cut up.
        found = with_value(found, "baseline.epochs", total - found.plain.epochs)
    if (name, value) == ("finetune_from", "scratch"):
        found = with_value(found, "finetune.epochs", total)
    return found


def recipe_of(scale: str, variant: str) -> Recipe | None:
    """Today's recipe of a row's variant, such as ``pace=4``; None if it is not swept any more."""
    name, _, value = variant.partition("=")
    if not variant:
        return SCALES[scale]
    if variant in TAUGHT:
        return _taught(scale, variant)
    known = {str(v): v for v in {**SWEEPS, **GAPS}.get(name, ())}
    return varied(SCALES[scale], name, known[value]) if value in known else None


def _taught(scale: str, variant: str) -> Recipe:
    recipe = SCALES[scale]
    for name, value in TAUGHT[variant].items():
        recipe = with_value(recipe, name, value)
    taught = "teacher" in variant
    return with_value(recipe, "teacher", TEACHERS.get(scale, scale)) if taught else recipe
