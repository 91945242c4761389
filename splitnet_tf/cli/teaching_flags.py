"""Flags of a teacher and of a loss on the groups."""

from __future__ import annotations

from pathlib import Path

import keras
from absl import flags

from splitnet_tf.cli.define import Number, define_float, define_list, define_text
from splitnet_tf.recipe.preprocessing import Preprocessing
from splitnet_tf.stages.preprocessing import check_same, known_of, takes_images
from splitnet_tf.stages.teachers import BEFORE, load_teacher
from splitnet_tf.stages.teaching import Teaching, check_teacher

FLAGS = flags.FLAGS
flags.disclaim_key_flags()

TEACHER_FLAGS = ("teacher_weight", "temperature", "teacher_parts")


def define_teaching_flags(before: bool) -> None:
    """Flags of a teacher; with ``before``, those of a tree besides."""
    also = "; before: the best checkpoint of --basemodel before the cut" if before else ""
    define_text(
        "teacher",
        None,
        f"Trained network whose answers are learned besides the labels: a .keras file or a run "
        f"folder{also}.",
    )
    define_float("teacher_weight", 0.5, "Share of --teacher in the loss.", 0, 1)
    define_float("temperature", 4.0, "Temperature of the answers of --teacher.", 0.01, 1000)
    if not before:
        return
    define_list(
        "teacher_parts",
        [],
        "Two weights for --teacher: which group, and which class inside each group. Defaults to "
        "none: the whole divergence.",
        Number(float, 0, 1000),
    )
    define_float(
        "group_loss",
        0.0,
        "Weight of the cross entropy of the groups, the summed probabilities of their classes.",
        0,
        1000,
    )


def teaching() -> Teaching:
    """The weights that the flags give.

    Raises:
      flags.Error: a flag without effect, or parts that are not two.
    """
    # What is as by default does no harm; the command of a report names every flag.
    set_apart = (name for name in TEACHER_FLAGS if name in FLAGS)
    given = [name for name in set_apart if FLAGS[name].value != FLAGS[name].default]
    if given and not FLAGS.teacher:
        raise flags.Error(f"--{given[0]} has no effect without --teacher; give one, or leave out.")
    parts = [float(part) for part in FLAGS.teacher_parts] if "teacher_parts" in FLAGS else []
    if len(parts) not in (0, 2):
        raise flags.Error(f"--teacher_parts takes two weights; got {len(parts)}.")
    return Teaching(
        weight=FLAGS.teacher_weight,
        temperature=FLAGS.temperature,
        parts=tuple(parts) or None,
        group_weight=FLAGS.group_loss if "group_loss" in FLAGS else 0.0,
        bfloat16=FLAGS.bfloat16,
    )


def teacher(
    network: keras.Model, preprocessing: Preprocessing, grouped: keras.Model | None = None
) -> keras.Model | None:
    """The teacher that the flags name, or None.

    Args:
      network: what it teaches, or what that is cut from.
      preprocessing: of the inputs of both.
      grouped: the grouped model of ``--basemodel``, for ``--teacher=before``.
    """
    if not FLAGS.teacher:
        return None
    base = Path(FLAGS.basemodel) if grouped is not None else None
    found = load_teacher(FLAGS.teacher, grouped, base)
    check_teacher(found, network)
    if FLAGS.teacher != BEFORE:
        given = FLAGS.preprocessing is not None
        known = known_of("teacher", FLAGS.teacher)
        check_same(known, preprocessing, takes_images(network), given)
    return found
