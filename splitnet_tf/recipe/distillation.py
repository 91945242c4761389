"""Losses of a student beside a teacher, whole or by groups of the classes.

Logits are (B, classes); each function gives the loss of each example, float32 (B,). ``membership``
is (classes, groups), 1 where a class is in a group, else 0; each class is in one group.
"""

from __future__ import annotations

import keras
from keras import ops

from splitnet_tf.errors import ArgumentError
from splitnet_tf.recipe.losses import CrossEntropy
from splitnet_tf.recipe.teaching_weights import FAR, check_groups, check_teaching


def distillation(student, teacher, temperature: float):
    """Divergence of a student's answers from a teacher's (Hinton, Vinyals, Dean, 2015).

    The Kullback-Leibler divergence of softmax(teacher / T) and softmax(student / T), times T^2, so
    that its gradient does not fade with the temperature T.

    >>> float(distillation([[1.0, 0.0]], [[1.0, 0.0]], 4.0)[0])
    0.0
    """
    student = ops.log_softmax(ops.cast(student, "float32") / temperature, axis=-1)
    teacher = ops.log_softmax(ops.cast(teacher, "float32") / temperature, axis=-1)
    return temperature**2 * ops.sum(ops.exp(teacher) * (teacher - student), axis=-1)


def group_logits(logits, membership):
    """Logarithm of the summed exponentials of each group's logits, (B, groups)."""
    spread = ops.expand_dims(ops.cast(logits, "float32"), 2) - FAR * (1.0 - membership)
    return ops.logsumexp(spread, axis=1)


def decoupled_distillation(
    student, teacher, temperature: float, membership, between: float = 1.0, within: float = 1.0
):
    """Distillation in two parts: which group, and which class inside each group.

    The form of Zhao et al. (CVPR 2022) with groups in the place of target and others: the whole
    divergence is KL(groups) + sum over g of p_g KL(classes | g); here the second part does not
    fade with the teacher's p_g, and each part has a weight.

    Args:
      student, teacher: logits.
      temperature: float above 0.
      membership: see the module.
      between, within: float, weights of the two parts. Default to 1.
    """
    which = distillation(
        *(temperature * group_logits(x / temperature, membership) for x in (student, teacher)),
        temperature,
    )
    inside = 0.0
    for g in range(membership.shape[1]):
        hidden = FAR * (1.0 - membership[:, g])
        inside += distillation(student - hidden, teacher - hidden, temperature)
    return between * which + within * inside


def group_cross_entropy(labels, logits, membership):
    """Cross entropy of the groups: minus the logarithm of the summed p of the right group.

    Tree supervision as of Wan et al. (ICLR 2021), for errors between branches.

    Args:
      labels: int (B,) or (B, 1), or shares of the classes (B, classes).
    """
    membership = ops.cast(membership, "float32")
    if len(labels.shape) > 1 and labels.shape[-1] > 1:
        groups = ops.matmul(ops.cast(labels, "float32"), membership)
    else:
        groups = ops.take(membership, ops.cast(ops.reshape(labels, (-1,)), "int32"), axis=0)
    return ops.categorical_crossentropy(groups, group_logits(logits, membership), from_logits=True)


@keras.saving.register_keras_serializable(package="splitnet_tf")
class TaughtCrossEntropy(CrossEntropy):
    """Cross entropy of logits with a teacher's answers, a loss on groups, or both.

    (1 - teacher_weight) CE + teacher_weight D + group_weight CE of the groups, where D is
    ``distillation``, or ``decoupled_distillation`` where there are ``parts``.

    Labels are as ``CrossEntropy`` takes them, or of ``with_answers``: the class number, or a share
    of each class, and then the teacher's logits. Without the teacher's logits D is left out, and
    the cross entropy is whole. With ``teacher_weight`` 0 labels have no teacher's logits.

    Args:
      teacher_weight: float from 0 to 1, share of the teacher. Defaults to 0.5.
      temperature: float above 0, temperature of both answers. Defaults to 4.
      groups: int (classes,), group of each class. Defaults to none.
      group_weight: float of 0 or more, weight of the cross entropy of the groups. Defaults to 0.
      parts: (between, within), weights of the parts of the decoupled form. Defaults to none: the
        whole divergence.
      label_smoothing, name, reduction: see ``CrossEntropy``.

    Raises:
      ArgumentError: a value out of its range, or groups that are needed and not given; in a call,
        labels of another width, or groups of another number of classes than the logits have.
    """

    def __init__(
        self,
        teacher_weight: float = 0.5,
        temperature: float = 4.0,
        groups=None,
        group_weight: float = 0.0,
        parts=None,
        label_smoothing: float = 0.0,
        name: str | None = None,
        reduction: str | None = "sum_over_batch_size",
    ):
        super().__init__(label_smoothing, name, reduction)
        check_teaching("teacher_weight", teacher_weight, temperature, parts, group_weight)
        if groups is None and (group_weight or parts is not None):
            raise ArgumentError("`groups` of the classes are needed for a loss on groups.")
        check_groups(groups)
        self.teacher_weight = teacher_weight
        self.temperature = temperature
        self.groups = None if groups is None else [int(g) for g in groups]
        self.group_weight = group_weight
        self.parts = None if parts is None else tuple(map(float, parts))

    def call(self, y_true, y_pred):
        """The loss of each example, float32 (B,)."""
        labels, teacher = self._apart(y_true, y_pred)
        loss = super().call(labels, y_pred)
        if teacher is not None:
            taught = self._divergence(y_pred, teacher)
            loss = (1.0 - self.teacher_weight) * loss + self.teacher_weight * taught
        if self.group_weight:
            membership = self._membership(y_pred.shape[-1])
            loss += self.group_weight * group_cross_entropy(labels, y_pred, membership)
        return loss

    def accuracy(self, y_true, y_pred):
        """1 for each example whose largest logit is its class, else 0, float32 (B,)."""
        return super().accuracy(self._apart(y_true, y_pred)[0], y_pred)

    def _divergence(self, student, teacher):
        if self.parts is None:
            return distillation(student, teacher, self.temperature)
        membership = self._membership(student.shape[-1])
        return decoupled_distillation(student, teacher, self.temperature, membership, *self.parts)

    def _apart(self, y_true, y_pred):
        """Labels, and the teacher's logits where they are there."""
        classes = y_pred.shape[-1]
        width = y_true.shape[1] if len(y_true.shape) == 2 else None
        if width in (None, 1, classes) or classes == 1:
            return y_true, None
        if self.teacher_weight and width == classes + 1:
            return ops.cast(y_true[:, 0], "int32"), y_true[:, 1:]
        if self.teacher_weight and width == 2 * classes:
            return y_true[:, :classes], y_true[:, classes:]
        answers = "; with `teacher_weight=0` they have no teacher's logits"
        if self.teacher_weight:
            answers = f", and with a teacher's logits (B, {classes + 1}) or (B, {2 * classes})"
        raise ArgumentError(
            f"Labels must be class numbers (B,) or (B, 1), or shares (B, {classes}) as the logits"
            f"{answers}; got the shape {tuple(y_true.shape)}. Give labels and a teacher of the "
            "model's classes."
        )

    def _membership(self, classes: int):
        if len(self.groups) != classes:
            raise ArgumentError(
                f"`groups` are of {len(self.groups)} classes, the logits of {classes}; give the "
                "group of each class."
            )
        return ops.one_hot(ops.convert_to_tensor(self.groups), max(self.groups) + 1)

    def get_config(self):
        return {
            **super().get_config(),
            "teacher_weight": self.teacher_weight,
            "temperature": self.temperature,
            "groups": self.groups,
            "group_weight": self.group_weight,
            "parts": self.parts,
        }


def with_answers(labels, teacher_logits):
    """Labels for ``TaughtCrossEntropy``, with the teacher's logits beside them.

    Args:
      labels: int (B,) or (B, 1), which gives (B, 1 + classes); or shares of the classes
        (B, classes), which gives (B, 2 classes).
      teacher_logits: (B, classes).
    """
    teacher_logits = ops.cast(teacher_logits, "float32")
    labels = ops.cast(labels, "float32")
    if len(labels.shape) == 1 or labels.shape[-1] == 1:
        labels = ops.reshape(labels, (-1, 1))
    return ops.concatenate([labels, teacher_logits], axis=1)
