"""How well groups of classes agree with a taxonomy."""

from __future__ import annotations

import dataclasses

import numpy as np
from sklearn.metrics import adjusted_rand_score, normalized_mutual_info_score


@dataclasses.dataclass(frozen=True)
class Agreement:
    """Agreement of groups with superclasses.

    Attributes:
      nmi: normalized mutual information (arithmetic mean), 0 to 1.
      ari: adjusted Rand index, 0 for chance, 1 for the same partition.
      together: share of the classes that lie in the group which holds most of their superclass.
      random_nmi, random_nmi_std: NMI of random groups of the same sizes, mean and deviation.
    """

    nmi: float
    ari: float
    together: float
    random_nmi: float
    random_nmi_std: float


def agreement(
    labels: np.ndarray, superclasses: np.ndarray, draws: int = 200, seed: int = 0
) -> Agreement:
    """Compares groups of classes with their superclasses.

    Args:
      labels: (classes,) group of each class.
      superclasses: (classes,) superclass of each class.
      draws: random groupings of the same sizes to compare with.
      seed: of those.
    """
    labels, superclasses = np.asarray(labels), np.asarray(superclasses)
    rng = np.random.default_rng(seed)
    chance = [
        normalized_mutual_info_score(superclasses, rng.permutation(labels)) for _ in range(draws)
    ]
    table = np.zeros((superclasses.max() + 1, labels.max() + 1), int)
    np.add.at(table, (superclasses, labels), 1)
    return Agreement(
        float(normalized_mutual_info_score(superclasses, labels)),
        float(adjusted_rand_score(superclasses, labels)),
        float(table.max(axis=1).sum() / len(labels)),
        float(np.mean(chance)),
        float(np.std(chance)),
    )
