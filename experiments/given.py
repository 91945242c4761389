"""Groups of the classes that a row is given, in place of those that are learned."""

from __future__ import annotations

import numpy as np

from experiments.variants import WORST
from splitnet_tf.data import Dataset, superclass_taxonomy
from splitnet_tf.grouping import SplitPlan
from splitnet_tf.stages.given import given_classes


def given_groups(name: str, plan: SplitPlan, data: Dataset, seed: int) -> np.ndarray | None:
    """Groups of the classes by name, int (classes,); None where they are learned.

    Args:
      name: a name of ``given_classes``, or ``worst``: every superclass torn apart.
      plan: gives the numbers of groups.
      data: gives names and superclasses of the classes.
      seed: int, seed of random groups.
    """
    if name != WORST:
        taxonomy = superclass_taxonomy(data) if name == "semantic" else None
        found = given_classes(name, plan, data.class_names, taxonomy=taxonomy, seed=seed)
        return found and found.labels
    order = np.argsort(data.superclasses, kind="stable")
    labels = np.empty(len(order), int)
    labels[order] = np.arange(len(order)) % plan.groups[-1]  # neighbours part
    return labels
