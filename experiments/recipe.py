"""Recipes: everything that decides how a network is trained, grouped, cut and finetuned.

A run has three phases. ``plain``: training without split losses. ``group``: the split losses set
in and the assignments are learned. ``finetune``: the tree is trained. The baseline goes on from
the same plain phase with as many epochs as the other two have together.
"""

from __future__ import annotations

import dataclasses
from typing import Any


@dataclasses.dataclass(frozen=True)
class Phase:
    """One phase of training.

    Attributes:
      epochs: its length.
      rate: learning rate at its start.
      final_rate: at its end, down half a cosine; not used with ``drops``.
      drops: epochs at which the rate falls to a tenth.
      l2: weight of half the squared kernels.
      ema: momentum of the averaged weights that the phase ends with; 0: none.
    """

    epochs: float
    rate: float
    final_rate: float = 0.0
    drops: tuple[float, ...] = ()
    l2: float = 5e-4
    ema: float = 0.0


@dataclasses.dataclass(frozen=True)
class Recipe:
    """How a table's rows are made.

    Attributes:
      depth, width: of the Wide ResNet.
      plain, group, finetune, baseline: the phases; the tree's finetuning and the baseline's end.
      batch_size: images a step.
      label_smoothing: of the cross entropy, in every phase.
      nesterov: momentum of 0.9 looks ahead.
      dropout: in the split units, while grouping.
      bn_scale: whether batch norms have a scale.
      gamma1, gamma2, gamma3: weights of R_W, R_D, R_E.
      gamma1_growth: factor by which gamma1 has grown after ``growth_share`` of the grouping.
      growth_share: see there.
      weighted: R_W over kernels weighted by itself, as in 2017, or their mean.
      start: of the assignments: ``clustering`` or ``random``.
      start_p: membership of every channel in its cluster at the start, above 1 / groups.
      pace: learning rate of the assignments against that of the weights.
      method: of the hard assignment: ``argmax`` or ``balanced``.
      recalibrate: training batches on which batch-norm statistics are re-estimated after a cut.
      finetune_from: ``cut``, or ``scratch``: the tree's weights are drawn anew.
    """

    depth: int
    width: float
    plain: Phase
    group: Phase
    finetune: Phase
    baseline: Phase
    batch_size: int = 128
    label_smoothing: float = 0.0
    nesterov: bool = True
    dropout: float = 0.0
    bn_scale: bool = True
    gamma1: float = 1.0
    gamma2: float = 1.0
    gamma3: float = 10.0
    gamma1_growth: float = 20.0
    growth_share: float = 0.6
    weighted: bool = False
    start: str = "clustering"
    start_p: float = 0.9
    pace: float = 8.0
    method: str = "argmax"
    recalibrate: int = 100
    finetune_from: str = "cut"

    @property
    def model(self) -> str:
        """The network's short name."""
        return f"wrn-{self.depth}-{self.width:g}"


PHASES = ("plain", "group", "finetune", "baseline")


def value_of(recipe: Recipe, name: str) -> Any:
    """One field, ``pace`` or ``group.epochs`` say."""
    for part in name.split("."):
        recipe = getattr(recipe, part)
    return recipe


def with_value(recipe: Recipe, name: str, value: Any) -> Recipe:
    """A recipe with another value of one field, ``pace`` or ``group.epochs`` say."""
    first, _, rest = name.partition(".")
    if rest:
        value = dataclasses.replace(getattr(recipe, first), **{rest: value})
    return dataclasses.replace(recipe, **{first: value})


def recipe_document(recipe: Recipe) -> dict:
    """A recipe as JSON keeps it."""
    document = dataclasses.asdict(recipe)
    for phase in PHASES:
        document[phase]["drops"] = list(document[phase]["drops"])
    return document


SCALES = {
    # Minutes, on planted data: that the programs run. Its numbers mean nothing.
    "smoke": Recipe(
        *(10, 1, Phase(2, 0.1, 0.1), Phase(2, 0.05, 0.02), Phase(2, 0.05), Phase(4, 0.1)),
        batch_size=64,
        recalibrate=10,
    ),
    # Hours on two cores.
    "small": Recipe(
        *(16, 2, Phase(2, 0.1, 0.1), Phase(1, 0.1, 0.05), Phase(2, 0.1), Phase(3, 0.1))
    ),
    # For sweeps, which need many runs.
    "sweep": Recipe(
        *(10, 1, Phase(3, 0.1, 0.1), Phase(1, 0.1, 0.05), Phase(2, 0.1), Phase(3, 0.1))
    ),
    # The 2017 code's settings: random start, no plain phase, steps, its gammas. Not as there: its
    # dropout before the first convolution of a unit and before the logits, norms that get a scale
    # for the finetuning, and the baseline, of which it says nothing.
    "paper": Recipe(
        *(16, 8, Phase(0, 0.1, 0.1)),
        Phase(400, 0.1, drops=(240, 300), l2=1e-4),
        Phase(240, 0.1, drops=(100, 140)),
        Phase(640, 0.1, drops=(384, 512)),
        batch_size=90,
        nesterov=False,
        dropout=0.5,
        bn_scale=False,
        gamma1_growth=1.0,
        weighted=True,
        start="random",
        pace=1.0,
        recalibrate=0,
    ),
    # What is known to help baseline and tree alike: cosine, Nesterov, smoothing, averaged weights.
    "modern": Recipe(
        *(16, 8, Phase(20, 0.1, 0.1), Phase(20, 0.1, 0.05)),
        Phase(80, 0.1, ema=0.998),
        Phase(100, 0.1, ema=0.998),
        label_smoothing=0.1,
    ),
}

# Of the paper's tables: the first is the default.
TABLE_SCALES = ("small", "smoke", "paper", "modern")

# The paper's rows: groups of the second stage, the third and the logits. And ``slim``, what a
# split is worth: a whole network, narrower throughout, with the parameters of the deep tree.
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
