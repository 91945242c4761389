"""What a row of a table is."""

from __future__ import annotations

import dataclasses

from experiments.recipe import WHOLE

FAILURES = ("collapsed", "diverged")  # what a row says instead of errors
GROUPINGS = ("learned", "semantic", "clustering", "random")


@dataclasses.dataclass(frozen=True)
class Row:
    """One row with one seed.

    Attributes:
      scale: its recipe's name.
      split: one of ``recipe.SPLITS``.
      grouping: one of ``GROUPINGS``.
      seed: of weights, order and augmentation.
      variant: what a sweep changes, ``pace=4`` say.
    """

    scale: str
    split: str
    grouping: str = "learned"
    seed: int = 0
    variant: str = ""

    @property
    def name(self) -> str:
        """Of its folder and its file."""
        parts = [self.split]
        parts += [] if self.split in WHOLE else [self.grouping]
        parts += [self.variant] if self.variant else []
        return "-".join((*parts, f"seed{self.seed}"))
