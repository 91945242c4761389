"""A teacher, and a loss on the groups, for the training of a tree or a network."""

from __future__ import annotations

import dataclasses
import logging
from typing import Any

import keras

from splitnet_tf.data.feeds import Feed
from splitnet_tf.data.taught_feed import TaughtFeed
from splitnet_tf.errors import ArgumentError
from splitnet_tf.graph import plain_copy
from splitnet_tf.grouping import Grouping
from splitnet_tf.recipe.distillation import TaughtCrossEntropy
from splitnet_tf.recipe.phase import Phase
from splitnet_tf.stages.loop import classifier_loss
from splitnet_tf.storage.digests import digest_arrays
from splitnet_tf.training import compiled_forward


@dataclasses.dataclass(frozen=True)
class Teaching:
    """Weights of a teacher and of a loss on the groups.

    Attributes:
      weight: float from 0 to 1, share of the teacher in the loss.
      temperature: float above 0, temperature of the teacher's and the student's answers.
      parts: (between, within), weights of the decoupled form: which group, and which class inside
        each group; None for the whole divergence.
      group_weight: float of 0 or more, weight of the cross entropy of the groups.
      bfloat16: bool, whether the teacher computes in bfloat16.
    """

    weight: float = 0.5
    temperature: float = 4.0
    parts: tuple[float, float] | None = None
    group_weight: float = 0.0
    bfloat16: bool = False


def taught(
    feed: Feed,
    loss: keras.losses.Loss | None,
    network: keras.Model,
    phase: Phase,
    teacher: keras.Model | None,
    teaching: Teaching,
    grouping: Grouping | None,
) -> tuple[Feed, keras.losses.Loss]:
    """The training data and the loss, with a teacher's answers and groups where asked for.

    Raises:
      ArgumentError: a loss of one's own beside a teacher, a teacher of other classes or inputs, or
        a loss on groups without a grouping.
    """
    if teacher is None and not teaching.group_weight:
        return feed, loss or classifier_loss(network, phase.label_smoothing)
    if loss is not None:
        raise ArgumentError("`loss` cannot be given beside `teacher` or a loss on groups.")
    needed = teaching.group_weight or teaching.parts
    if needed and grouping is None:
        raise ArgumentError("`grouping` is needed for a loss on groups and for a teacher in parts.")
    loss = TaughtCrossEntropy(
        teaching.weight if teacher is not None else 0.0,
        teaching.temperature,
        grouping.classes.labels() if needed else None,
        teaching.group_weight,
        teaching.parts,
        label_smoothing=phase.label_smoothing,
    )
    if teacher is None:
        return feed, loss
    check_teacher(teacher, network)
    logging.info("The teacher '%s' answers with weight %g.", teacher.name, teaching.weight)
    return TaughtFeed(feed, _answers(teacher, teaching.bfloat16)), loss


def check_teacher(teacher: keras.Model, network: keras.Model) -> None:
    """Raises ArgumentError where a teacher does not take or answer what the network does."""
    for what, own, wanted in (
        ("takes inputs", teacher.inputs, network.inputs),
        ("answers", teacher.outputs, network.outputs),
    ):
        own, wanted = ([tuple(x.shape[1:]) for x in tensors] for tensors in (own, wanted))
        if own != wanted:
            raise ArgumentError(
                f"`teacher` '{teacher.name}' {what} of shape {own}, the network {wanted}; give a "
                "teacher of the same images and classes."
            )


def teaching_settings(teacher: keras.Model | None, teaching: Teaching) -> dict[str, Any]:
    """Settings of the teacher for ``config.json``; none without one."""
    if teacher is None and not teaching.group_weight:
        return {}
    found = dataclasses.asdict(teaching)
    found["parts"] = list(teaching.parts) if teaching.parts else None
    return {f"teaching_{name}": v for name, v in found.items()} | teacher_settings(teacher)


def teacher_settings(teacher: keras.Model | None) -> dict[str, str]:
    """The digest of a teacher for ``config.json``; none without one."""
    if teacher is None:
        return {}
    arrays = [keras.ops.convert_to_numpy(w) for w in teacher.weights]
    return {"teacher_digest": digest_arrays(arrays)}


def _answers(teacher: keras.Model, bfloat16: bool):
    """A copy of the teacher in inference, x -> float32 logits; it stays as it is."""
    return compiled_forward(plain_copy(teacher), bfloat16=bfloat16)
