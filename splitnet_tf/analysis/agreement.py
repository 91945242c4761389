"""Agreement of groups of classes with a taxonomy."""

from __future__ import annotations

import dataclasses

import numpy as np
from scipy.stats import entropy
from sklearn.metrics import adjusted_rand_score, normalized_mutual_info_score


@dataclasses.dataclass(frozen=True)
class Agreement:
    """Agreement of groups with superclasses.

    Attributes:
      nmi: float from 0 to 1, normalized mutual information (arithmetic mean).
      ari: float, adjusted Rand index: 0 for chance, 1 for the same partition.
      together: float, share of the classes in the group that holds most of their superclass.
      random_nmi, random_nmi_std: NMI of random groups of the same sizes, mean and deviation.
      purity: float, share of the classes that belong to the commonest superclass of their group.
      random_ari, random_ari_std, random_purity, random_purity_std: ARI and purity of random groups,
        mean and deviation.
      most_nmi: float, NMI that groups of these sizes cannot exceed.
    """

    nmi: float
    ari: float
    together: float
    random_nmi: float
    random_nmi_std: float
    purity: float
    random_ari: float
    random_ari_std: float
    random_purity: float
    random_purity_std: float
    most_nmi: float


def agreement(
    labels: np.ndarray, superclasses: np.ndarray, draws: int = 200, seed: int = 0
) -> Agreement:
    """Compares groups of classes with their superclasses.

    Args:
      labels: int (classes,), group of each class.
      superclasses: int (classes,), superclass of each class.
      draws: int, random groupings of the same sizes to compare with. Defaults to 200.
      seed: int, seed of the random groupings. Defaults to 0.
    """
    labels, superclasses = np.asarray(labels), np.asarray(superclasses)
    rng = np.random.default_rng(seed)
    scores = np.array([_scores(rng.permutation(labels), superclasses) for _ in range(draws)])
    random, spread = scores.mean(axis=0), scores.std(axis=0)
    nmi, ari, purity = _scores(labels, superclasses)
    together = contingency(labels, superclasses).max(axis=1).sum() / len(labels)
    return Agreement(
        nmi=nmi,
        ari=ari,
        together=float(together),
        random_nmi=float(random[0]),
        random_nmi_std=float(spread[0]),
        purity=purity,
        random_ari=float(random[1]),
        random_ari_std=float(spread[1]),
        random_purity=float(random[2]),
        random_purity_std=float(spread[2]),
        most_nmi=_most_nmi(labels, superclasses),
    )


def contingency(labels: np.ndarray, superclasses: np.ndarray) -> np.ndarray:
    """Counts the classes of each superclass in each group, int (superclasses, groups)."""
    table = np.zeros((superclasses.max() + 1, labels.max() + 1), int)
    np.add.at(table, (superclasses, labels), 1)
    return table


def _scores(labels: np.ndarray, superclasses: np.ndarray) -> tuple[float, float, float]:
    """NMI, ARI and purity."""
    return (
        float(normalized_mutual_info_score(superclasses, labels)),
        float(adjusted_rand_score(superclasses, labels)),
        float(contingency(labels, superclasses).max(axis=0).sum() / len(labels)),
    )


def _most_nmi(labels: np.ndarray, superclasses: np.ndarray) -> float:
    """NMI when all the information of the poorer of the two is shared."""
    a, b = (entropy(np.bincount(x)) for x in (labels, superclasses))
    return float(2 * min(a, b) / (a + b)) if a + b else 1.0
