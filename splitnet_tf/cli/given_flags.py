"""``--grouping`` of the group program: groups of the classes that are given, not learned."""

from __future__ import annotations

from collections.abc import Callable

import keras
import numpy as np
from absl import flags

from splitnet_tf.cli.define import define_text
from splitnet_tf.data import Dataset, evaluation_batches, superclass_taxonomy
from splitnet_tf.grouping import SplitLosses, SplitPlan
from splitnet_tf.grouping.clusters import cluster_classes, confusion_similarity
from splitnet_tf.grouping.given import random_classes, read_classes, taxonomy_classes
from splitnet_tf.grouping.start import FEATURES, last_kernel, weight_clusters
from splitnet_tf.grouping.wordnet import wordnet_taxonomy
from splitnet_tf.training import compiled_forward, evaluate

FLAGS = flags.FLAGS
flags.disclaim_key_flags()
NAMES = ("learned", "semantic", "clustering", "random", "wordnet")


def define_given_flags() -> None:
    define_text(
        "grouping",
        "learned",
        "Groups of the classes: learned, semantic (the data's superclasses), clustering (of the "
        "network after the warm-up), random, wordnet, or a .json file: a grouping or a taxonomy.",
    )
    flags.DEFINE_enum(
        "features",
        "learned",
        list(FEATURES),
        "With given classes: features learned around them, or split evenly.",
    )
    flags.DEFINE_enum(
        "clusters_of",
        "weights",
        ["weights", "confusion"],
        "What clustering goes by: the last kernel, or confusions on the validation images.",
    )
    flags.DEFINE_boolean("equal_clusters", True, "Clusters of equal sizes.")


def given_classes(dataset: Dataset, plan: SplitPlan) -> np.ndarray | None:
    """Groups of the classes, (classes,), that are known before training; None: there are none.

    Raises:
      flags.Error: an unknown name.
      GroupingError: a file that is none.
      DataError: a data set without superclasses.
    """
    _check_flags(plan)
    name = FLAGS.grouping
    if name in ("learned", "clustering"):
        return None
    if name == "random":
        return random_classes(dataset.num_classes, plan, FLAGS.seed)
    if name == "semantic":
        return taxonomy_classes(dataset.class_names, superclass_taxonomy(dataset), plan)
    if name == "wordnet":
        taxonomy = wordnet_taxonomy(dataset.class_names)
        return taxonomy_classes(dataset.class_names, taxonomy, plan)
    if name.endswith(".json"):
        return read_classes(name, dataset.class_names, plan)
    raise flags.Error(f"--grouping must be one of {', '.join(NAMES)} or a .json file; got {name}.")


def _check_flags(plan: SplitPlan) -> None:
    """Refuses flags that would do nothing, and what would change given groups."""
    name = FLAGS.grouping
    if name != "learned" and not plan.kernels:
        raise flags.Error(f"--grouping={name} has no effect: --splits asks for no group.")
    unused = ("features",) if name == "learned" else ("assignment_init",)
    unused += ("clusters_of", "equal_clusters") if name != "clustering" else ()
    for flag in unused:
        # What is as by default does no harm; the command of a report names every flag.
        if FLAGS[flag].value != FLAGS[flag].default:
            raise flags.Error(f"--{flag} has no effect with --grouping={name}; leave it out.")
    if name != "learned" and FLAGS.method != "argmax":
        raise flags.Error(
            f"--method={FLAGS.method} would change given groups; leave it out with "
            f"--grouping={name}."
        )


def classes_after_warmup(
    dataset: Dataset,
    plan: SplitPlan,
    grouped: keras.Model,
    losses: SplitLosses,
    known: np.ndarray | None,
) -> Callable[[], np.ndarray] | None:
    """What gives the groups of the classes when the warm-up is over; None: they are learned."""
    if FLAGS.grouping == "learned":
        return None
    if FLAGS.grouping != "clustering":
        return lambda: known

    def clusters() -> np.ndarray:
        if FLAGS.clusters_of == "weights":
            return weight_clusters(last_kernel(losses), plan, FLAGS.seed, FLAGS.equal_clusters)
        found = evaluate(compiled_forward(grouped), evaluation_batches(dataset.valid, 200))
        similarity = confusion_similarity(found.confusion)
        return cluster_classes(
            lambda members: similarity[np.ix_(members, members)],
            dataset.num_classes,
            plan,
            FLAGS.seed,
            FLAGS.equal_clusters,
        )

    return clusters


def grouping_method(method: str) -> str:
    """What ``grouping.json`` says of how its groups came about."""
    if FLAGS.grouping == "learned":
        return method
    return f"{FLAGS.grouping}, features {FLAGS.features}, {method}"
