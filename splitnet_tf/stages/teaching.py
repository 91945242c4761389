"""A teacher, and a loss on the groups, for the training of a tree or a network."""

from __future__ import annotations

import dataclasses
import logging
from typing import Any

import keras

from splitnet_tf.data.feeds import Feed
from splitnet_tf.data.taught_feed import TaughtFeed
from splitnet_tf.errors import ArgumentError, PlanError
from splitnet_tf.graph import plain_copy, read_graph
from splitnet_tf.grouping import Grouping
from splitnet_tf.recipe.distillation import TaughtCrossEntropy
from splitnet_tf.recipe.phase import Phase
from splitnet_tf.recipe.teaching_weights import check_teaching
from splitnet_tf.splitting import SplitTree
from splitnet_tf.stages.architecture import architecture_digest
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

    Raises:
      ArgumentError: a value out of its range.
    """

    weight: float = 0.5
    temperature: float = 4.0
    parts: tuple[float, float] | None = None
    group_weight: float = 0.0
    bfloat16: bool = False

    def __post_init__(self):
        check_teaching("weight", self.weight, self.temperature, self.parts, self.group_weight)

    def check_used(self, teacher: Any) -> None:
        """Raises ArgumentError for settings of a teacher where there is none."""
        plain = Teaching(group_weight=self.group_weight, bfloat16=self.bfloat16)
        if teacher is None and self != plain:
            raise ArgumentError(
                "`teaching` has settings of a teacher, which have no effect without `teacher`; "
                "give one, or leave `weight`, `temperature` and `parts` out."
            )


def taught(
    feed: Feed,
    loss: keras.losses.Loss | None,
    network: keras.Model,
    phase: Phase,
    teacher: keras.Model | SplitTree | None,
    teaching: Teaching,
    grouping: Grouping | None,
) -> tuple[Feed, keras.losses.Loss]:
    """The training data and the loss, with a teacher's answers and groups where asked for.

    Raises:
      ArgumentError: a loss of one's own beside a teacher, a teacher of another kind, classes or
        inputs, settings of a teacher without one, a loss on groups without a grouping of the
        network's classes, several outputs, or a softmax at the end.
    """
    teaching.check_used(teacher)
    if teacher is None and not teaching.group_weight:
        return feed, loss or classifier_loss(network, phase.label_smoothing)
    if loss is not None:
        raise ArgumentError("`loss` cannot be given beside `teacher` or a loss on groups.")
    needed = teaching.group_weight or teaching.parts
    if needed and grouping is None:
        raise ArgumentError("`grouping` is needed for a loss on groups and for a teacher in parts.")
    if len(network.outputs) != 1:
        raise ArgumentError(
            f"Model '{network.name}' has {len(network.outputs)} outputs; `teacher` and a loss on "
            "groups need a model of one output."
        )
    classifier_loss(network, phase.label_smoothing)  # refuses a softmax
    classes = network.outputs[0].shape[-1]
    if needed and grouping.classes.size != classes:
        raise ArgumentError(
            f"`grouping` has {grouping.classes.size} classes, model '{network.name}' {classes}; "
            "give a grouping of its classes."
        )
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
    teacher = plain_teacher(teacher)
    check_teacher(teacher, network)
    if not teaching.weight:
        return feed, loss
    logging.info("The teacher '%s' answers with weight %g.", teacher.name, teaching.weight)
    return TaughtFeed(feed, _answers(teacher, teaching.bfloat16)), loss


def plain_teacher(teacher: Any) -> keras.Model:
    """The model of a teacher.

    Raises:
      ArgumentError: neither a functional or built sequential model nor a tree.
    """
    found = teacher.model if isinstance(teacher, SplitTree) else teacher
    try:
        if isinstance(found, keras.Model):
            read_graph(found)
            return found
    except PlanError:  # subclassed, or not built
        pass
    raise ArgumentError(
        "`teacher` must be a functional Keras model, a sequential one that is built, or a "
        f"SplitTree; got {type(teacher).__name__}."
    )


def check_teacher(teacher: keras.Model, network: keras.Model) -> None:
    """Raises ArgumentError where a teacher does not take or answer what the network does."""
    for what, own, wanted, fit in (
        ("takes inputs", teacher.inputs, network.inputs, _takes),
        ("answers", teacher.outputs, network.outputs, tuple.__eq__),
    ):
        own, wanted = ([tuple(x.shape[1:]) for x in tensors] for tensors in (own, wanted))
        if len(own) != len(wanted) or not all(map(fit, own, wanted)):
            raise ArgumentError(
                f"`teacher` '{teacher.name}' {what} of shape {own}, the network {wanted}; give a "
                "teacher of the same images and classes."
            )
    try:
        classifier_loss(teacher, 0.0)
    except ArgumentError as error:  # it ends in a softmax
        raise ArgumentError(f"`teacher`: {error}") from None


def _takes(own: tuple, wanted: tuple) -> bool:
    """True where inputs of the one shape take the other; None is any length."""
    pairs = zip(own, wanted, strict=False)
    return len(own) == len(wanted) and all(a is None or a == b for a, b in pairs)


def teaching_settings(
    teacher: keras.Model | SplitTree | None, teaching: Teaching
) -> dict[str, Any]:
    """Settings of the teacher for ``config.json``; none without one."""
    if teacher is None and not teaching.group_weight:
        return {}
    found = dataclasses.asdict(teaching)
    found["parts"] = list(teaching.parts) if teaching.parts else None
    return {f"teaching_{name}": v for name, v in found.items()} | teacher_settings(teacher)


def teacher_settings(teacher: keras.Model | SplitTree | None) -> dict[str, str]:
    """The digests of a teacher for ``config.json``; none without one."""
    if teacher is None:
        return {}
    teacher = plain_teacher(teacher)
    arrays = [keras.ops.convert_to_numpy(w) for w in teacher.weights]
    return {
        "teacher_digest": digest_arrays(arrays),
        "teacher_layers_digest": architecture_digest(teacher),
    }


def _answers(teacher: keras.Model, bfloat16: bool):
    """A copy of the teacher in inference, x -> float32 logits; it stays as it is."""
    return compiled_forward(plain_copy(teacher), bfloat16=bfloat16)
