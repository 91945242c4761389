"""A network beside its teacher as one model, so that both see an image as ``fit`` augments it."""

from __future__ import annotations

import keras

from splitnet_tf.errors import ArgumentError
from splitnet_tf.graph import plain_copy
from splitnet_tf.recipe.distillation import TaughtCrossEntropy, with_answers


def beside_teacher(model: keras.Model, teacher: keras.Model) -> keras.Model:
    """Builds a model of the same inputs that returns (B, 2 classes): logits, then the teacher's.

    Args:
      model: takes one input, and returns logits (B, classes); its weights are shared.
      teacher: trained network of the same inputs and classes; a copy of it answers in inference.

    Raises:
      ArgumentError: a teacher of other inputs or classes.
    """
    for what in ("input_shape", "output_shape"):
        own, wanted = getattr(teacher, what), getattr(model, what)
        if own != wanted:
            raise ArgumentError(
                f"`teacher` '{teacher.name}' has the {what.replace('_', ' ')} {own}, the network "
                f"{wanted}; give a teacher of the same images and classes."
            )
    inputs = keras.Input(model.input_shape[1:])
    answers = plain_copy(teacher)
    answers.trainable = False
    answers = keras.Model(answers.input, answers.output, name=f"teacher_of_{model.name}")
    logits = keras.layers.Concatenate(dtype="float32")(
        [model(inputs), answers(inputs, training=False)]
    )
    return keras.Model(inputs, logits, name=model.name)


class AnsweredLoss(keras.losses.Loss):
    """Loss and accuracy of the outputs of ``beside_teacher``.

    Args:
      loss: of the logits, with answers beside the labels.
      classes: int, number of classes.
    """

    def __init__(self, loss: TaughtCrossEntropy, classes: int):
        super().__init__(reduction=loss.reduction, dtype="float32")
        self.loss, self.classes = loss, classes

    def call(self, y_true, y_pred):
        """The loss of each example, float32 (B,)."""
        answers = with_answers(y_true, y_pred[:, self.classes :])
        return self.loss.call(answers, y_pred[:, : self.classes])

    def accuracy(self, y_true, y_pred):
        """1 for each example whose largest logit is its class, else 0, float32 (B,)."""
        return self.loss.accuracy(y_true, y_pred[:, : self.classes])
