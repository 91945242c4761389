"""Flag of the classes' weights in the loss."""

from __future__ import annotations

from absl import flags

from splitnet_tf.cli.define import Text, define_list
from splitnet_tf.data import Dataset

FLAGS = flags.FLAGS
flags.disclaim_key_flags()

MOST = 1e6


class ClassWeight(Text):
    """A class and its weight, ``class:weight``."""

    def parse(self, argument):
        super().parse(argument)
        name, _, weight = argument.rpartition(":")
        try:
            within = 0 <= float(weight) <= MOST
        except ValueError:
            within = False
        if not name or not within:
            raise ValueError(f"it must be <class>:<weight>, a weight from 0 to {MOST:,.0f}.")
        return argument


def define_class_weight_flag() -> None:
    """Flag of the classes' weights."""
    define_list(
        "class_weight",
        None,
        "Weights of classes in the training loss, <class>:<weight>,... by name or number; 1 for "
        "the others.",
        ClassWeight(),
    )


def class_weights(dataset: Dataset) -> dict[int, float] | None:
    """Weight of each class that the flag names, by number; None without the flag.

    Raises:
      flags.Error: a class that the data set does not have, or one named twice.
    """
    if not FLAGS.class_weight:
        return None
    numbers = {str(c): c for c in range(dataset.num_classes)}
    numbers |= {name: c for c, name in enumerate(dataset.class_names or ())}
    found: dict[int, float] = {}
    for entry in FLAGS.class_weight:
        name, _, weight = entry.rpartition(":")
        number = numbers.get(name)
        if number is None or number in found:
            what = "the data set has no such class" if number is None else "it is named twice"
            raise flags.Error(f"--class_weight={entry}: {what}.")
        found[number] = float(weight)
    return found
