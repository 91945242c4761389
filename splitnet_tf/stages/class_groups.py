"""Groups of the classes beside what is known of the classes: superclasses, planted groups."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np

from splitnet_tf.analysis import Agreement, agreement
from splitnet_tf.grouping import Grouping
from splitnet_tf.grouping.hierarchy import merge_map


@dataclasses.dataclass(frozen=True)
class LevelAgreement:
    """Agreement of one level of a tree with one level of planted groups.

    Attributes:
      planted: int, number of planted groups.
      found: int, number of the tree's groups.
      agreement: float from 0 to 1, their normalized mutual information.
    """

    planted: int
    found: int
    agreement: float


@dataclasses.dataclass(frozen=True)
class ClassGroups:
    """Groups of the classes. Prints as a line for each group and each agreement.

    Attributes:
      names: names of the classes in each group.
      planted: agreement with planted groups, level by level from the coarsest; empty without.
      superclasses: agreement with superclasses; None without.
    """

    names: tuple[tuple[str, ...], ...]
    planted: tuple[LevelAgreement, ...] = ()
    superclasses: Agreement | None = None

    @property
    def sizes(self) -> list[int]:
        """Number of classes in each group."""
        return [len(names) for names in self.names]

    @property
    def nmi(self) -> float | None:
        """Agreement with the superclasses, or else with the finest planted groups."""
        if self.superclasses is not None:
            return self.superclasses.nmi
        return self.planted[-1].agreement if self.planted else None

    def to_document(self) -> dict[str, Any]:
        """The groups for a JSON document."""
        found: dict[str, Any] = {"sizes": self.sizes, "names": [list(n) for n in self.names]}
        if self.planted:
            found["planted_levels"] = [dataclasses.asdict(level) for level in self.planted]
            found["planted_agreement"] = self.planted[-1].agreement
        if self.superclasses is not None:
            found["superclass_nmi"] = self.superclasses.nmi
            found["random_nmi"] = self.superclasses.random_nmi
            found["random_nmi_std"] = self.superclasses.random_nmi_std
            found["together"] = self.superclasses.together
        return found

    def __str__(self) -> str:
        lines = [f"group {g} ({len(n)}): {', '.join(n)}" for g, n in enumerate(self.names)]
        lines += [
            f"{level.found} groups against the {level.planted} planted: agreement "
            f"{level.agreement:.3f}"
            for level in self.planted
        ]
        if self.superclasses is not None:
            lines.append(
                f"NMI with the superclasses: {self.superclasses.nmi:.3f} (random groups "
                f"{self.superclasses.random_nmi:.3f} +- {self.superclasses.random_nmi_std:.3f})"
            )
        return "\n".join(lines)


def describe_groups(
    grouping: Grouping,
    superclasses: np.ndarray | None = None,
    planted: Sequence[np.ndarray] = (),
) -> ClassGroups:
    """Compares the groups of the classes with what is known of the classes.

    Args:
      grouping: groups of the classes.
      superclasses: int (classes,), superclass of each class. Defaults to none.
      planted: int (classes,) each, planted groups from coarse to fine; they come before
        superclasses. Defaults to none.

    >>> model = sn.models.mlp((8,), num_classes=4, input_shape=(6,))
    >>> even = sn.Grouping.even(sn.SplitPlan.from_sections(model, [("logits", 2)]))
    >>> found = sn.describe_groups(even, superclasses=np.array([0, 0, 1, 1]))
    >>> found.sizes, round(found.nmi, 3)
    ([2, 2], 1.0)
    """
    names = tuple(tuple(map(str, names)) for names in grouping.class_groups())
    if planted:
        return ClassGroups(names, planted=compare_levels(grouping, planted))
    if superclasses is None:
        return ClassGroups(names)
    return ClassGroups(names, superclasses=agreement(grouping.classes.labels(), superclasses))


def compare_levels(grouping: Grouping, planted: Sequence[np.ndarray]) -> tuple[LevelAgreement, ...]:
    """Compares a tree's groups with planted ones, level by level from the coarsest.

    Each planted level is compared with the tree's level of as many groups. If no level has as
    many, the planted level with the nearest number is compared with the tree's finest.

    Args:
      grouping: groups of the classes and sections of the tree.
      planted: int (classes,) each, from coarse to fine.
    """
    counts = (1, *(groups for _, groups in grouping.sections))
    top, labels = len(counts) - 1, grouping.classes.labels()
    pairs = [(level, counts.index(n)) for level in planted if (n := level.max() + 1) in counts[1:]]
    nearest = min(planted, key=lambda level: abs(level.max() + 1 - counts[-1]))
    return tuple(
        LevelAgreement(
            int(level.max()) + 1,
            counts[at],
            agreement(np.asarray(merge_map(counts, top, at))[labels], level).nmi,
        )
        for level, at in pairs or [(nearest, top)]
    )
