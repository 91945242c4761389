"""Recipes: everything that decides how a network is trained, grouped, cut and finetuned.

A run has three phases. ``plain``: training without split losses. ``group``: the split losses set
in and the assignments are learned. ``finetune``: the tree is trained. The baseline goes on from
the same plain phase with as many epochs as the other two have together.
"""

from __future__ import annotations

import dataclasses
from typing import Any

from splitnet_tf.grouping.recipe import GroupingRecipe
from splitnet_tf.recipe import Phase
from splitnet_tf.recipe.augmentation import CROP_FLIP


@dataclasses.dataclass(frozen=True)
class Recipe:
    """Settings of the network, its phases and the cut, with which rows are made.

    Attributes:
      depth, width: depth and width of the Wide ResNet.
      plain, finetune, baseline: phases without split losses; ``finetune`` is the tree's, and
        ``baseline`` is the end of the whole network's training.
      group: phase in which the groups are learned. Its warm-up is ``plain``.
      batch_size: int, images in a batch.
      dropout: float, dropout in the split units while grouping.
      bn_scale: bool, whether batch norms have a scale.
      gamma1, gamma2, gamma3: weights of R_W, R_D, R_E.
      weighted: bool, R_W over kernels weighted by itself, as in 2017, instead of their mean.
      method: how groups are read: ``argmax`` or ``balanced``.
      recalibrate: int, training batches on which batch norms are re-estimated after a cut.
      finetune_from: ``cut``, or ``scratch``: the tree's weights are drawn anew.
      classes: groups of the classes: ``learned``, or given by a name of ``given_groups``.
      gates: bool, whether the kernels have gates while the groups are learned.
      teacher: scale whose whole network, of seed 0, teaches in the last phase; empty for none.
      teacher_weight, temperature: share of the teacher in the loss, and its temperature.
      group_loss: float, weight of the loss on the groups while a tree is finetuned.
      augment: name of the augmentation of all phases.
    """

    depth: int
    width: float
    plain: Phase
    group: GroupingRecipe
    finetune: Phase
    baseline: Phase
    batch_size: int = 128
    dropout: float = 0.0
    bn_scale: bool = True
    gamma1: float = 1.0
    gamma2: float = 1.0
    gamma3: float = 10.0
    weighted: bool = False
    method: str = "argmax"
    recalibrate: int = 100
    finetune_from: str = "cut"
    classes: str = "learned"
    gates: bool = False
    teacher: str = ""
    teacher_weight: float = 0.9
    temperature: float = 4.0
    group_loss: float = 0.0
    augment: str = CROP_FLIP


# Settings that documents have only where they are not the usual ones.
_RARE = ("classes", "gates", "teacher", "teacher_weight", "temperature", "group_loss", "augment")
_USUAL = {f.name: f.default for f in dataclasses.fields(Recipe) if f.name in _RARE}
_USUAL["gamma2_delay"] = GroupingRecipe.gamma2_delay
PHASES = ("plain", "group", "finetune", "baseline")
# Settings of a phase that rows and sweeps name without it. Those of ``finetune`` are alike in all.
SHORT_NAMES = {
    "label_smoothing": "finetune.label_smoothing",
    "nesterov": "finetune.nesterov",
    "start": "group.assignment_start",
    "start_p": "group.start_p",
    "pace": "group.pace",
    "gamma1_growth": "group.gamma1_growth",
    "growth_share": "group.growth_share",
    "gamma2_delay": "group.gamma2_delay",
}


def value_of(recipe: Recipe, name: str) -> Any:
    """The value of a setting, such as ``gamma1``, ``pace`` or ``group.epochs``."""
    for part in SHORT_NAMES.get(name, name).split("."):
        recipe = getattr(recipe, part)
    return recipe


def with_value(recipe: Recipe, name: str, value: Any) -> Recipe:
    """A recipe with another value of one setting, see ``value_of``."""
    first, _, rest = SHORT_NAMES.get(name, name).partition(".")
    if rest:
        value = dataclasses.replace(getattr(recipe, first), **{rest: value})
    return dataclasses.replace(recipe, **{first: value})


def recipe_document(recipe: Recipe) -> dict:
    """A recipe as JSON keeps it; rows are found by the checksum of this."""
    document = {f.name: getattr(recipe, f.name) for f in dataclasses.fields(recipe)}
    for name in PHASES:
        phase = document[name]
        kept = {n: getattr(phase, n) for n in ("epochs", "rate", "final_rate", "l2", "ema")}
        document[name] = kept | {"drops": [d for d in phase.drops if phase.schedule == "step"]}
    document |= {name: value_of(recipe, name) for name in SHORT_NAMES}
    return {n: v for n, v in document.items() if n not in _USUAL or v != _USUAL[n]}


def _grouping(epochs: float, rate: float, final_rate: float, **more) -> GroupingRecipe:
    return GroupingRecipe(epochs, rate, final_rate, warmup_epochs=0.0, **more)


def _taught(depth: int, width: int, epochs: float) -> Recipe:
    """A recipe of the tables of teachers: a short plain phase, then ``epochs`` to the end."""
    group = _grouping(2, 0.1, 0.05)
    end = Phase(epochs - group.epochs, 0.1), Phase(epochs, 0.1)
    return Recipe(depth, width, Phase(8, 0.1, 0.1), group, *end)


_STEPS = {"schedule": "step", "nesterov": False}
_SMOOTHED = {"label_smoothing": 0.1}

SCALES = {
    # Minutes, on planted data: shows that the programs run. Its numbers mean nothing.
    "smoke": Recipe(
        *(10, 1, Phase(2, 0.1, 0.1), _grouping(2, 0.05, 0.02), Phase(2, 0.05), Phase(4, 0.1)),
        batch_size=64,
        recalibrate=10,
    ),
    # Hours on two cores.
    "small": Recipe(
        *(16, 2, Phase(2, 0.1, 0.1), _grouping(1, 0.1, 0.05), Phase(2, 0.1), Phase(3, 0.1))
    ),
    # For sweeps, which need many runs.
    "sweep": Recipe(
        *(10, 1, Phase(3, 0.1, 0.1), _grouping(1, 0.1, 0.05), Phase(2, 0.1), Phase(3, 0.1))
    ),
    # The 2017 code's settings: random start, no plain phase, steps, its gammas. The 2017 code
    # differs in three ways: it also has dropout before the first convolution of a unit and before
    # the logits, its norms get a scale for the finetuning, and it says nothing of the baseline.
    "paper": Recipe(
        *(16, 8, Phase(0, 0.1, 0.1, nesterov=False)),
        _grouping(
            *(400, 0.1, 0.0),
            **_STEPS | {"drops": (240, 300), "l2": 1e-4, "pace": 1.0, "gamma1_growth": 1.0},
            assignment_start="random",
        ),
        Phase(240, 0.1, drops=(100, 140), **_STEPS),
        Phase(640, 0.1, drops=(384, 512), **_STEPS),
        batch_size=90,
        dropout=0.5,
        bn_scale=False,
        weighted=True,
        recalibrate=0,
    ),
    # What is known to help baseline and tree alike: cosine, Nesterov, smoothing, averaged weights.
    "modern": Recipe(
        *(16, 8, Phase(20, 0.1, 0.1, **_SMOOTHED), _grouping(20, 0.1, 0.05, **_SMOOTHED)),
        Phase(80, 0.1, ema=0.998, **_SMOOTHED),
        Phase(100, 0.1, ema=0.998, **_SMOOTHED),
    ),
}

# Scales of the tables of teachers, and the scale whose whole network teaches.
TEACHERS = {
    "wrn-10-2": "wrn-16-4",
    "wrn-16-2": "wrn-16-4",
    "wrn-16-4": "wrn-16-8",
    "wrn-16-8": "wrn-16-8",
}
for _name, _epochs in (("wrn-10-2", 32), ("wrn-16-2", 32), ("wrn-16-4", 52), ("wrn-16-8", 52)):
    SCALES[_name] = _taught(*map(int, _name.split("-")[1:]), _epochs)

# Scales of the paper's tables; the first is the default.
TABLE_SCALES = ("small", "smoke", "paper", "modern")

# The paper's rows: groups of the second stage, the third and the logits. ``slim`` shows what a
# split is worth: it is a whole network, narrower throughout, with the deep tree's parameters.
SPLITS = {
    "baseline": (1, 1, 1),
    "slim": (1, 1, 1),
    "fc": (1, 1, 4),
    "shallow": (1, 2, 2),
    "deep": (2, 2, 2),
    "hierarchical": (2, 4, 4),
}
WHOLE = ("baseline", "slim")


def sections(split: str) -> list[tuple[str, int]]:
    """Sections of a Wide ResNet's plan for one of ``SPLITS``."""
    return list(zip(("unit_2_0", "unit_3_0", "logits"), SPLITS[split], strict=True))
