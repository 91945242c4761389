"""``--model``: by name, or from a ``.keras`` file."""

from __future__ import annotations

import keras
from absl import flags

from splitnet_tf import models
from splitnet_tf.grouping import logits_model
from splitnet_tf.saving import load_model

FLAGS = flags.FLAGS

MODEL_HELP = (
    "wrn-16-8, resnet-18x2, alexnet, mlp, a name from keras.applications such as ResNet50, or a "
    ".keras file."
)


def choose_model(
    name: str,
    num_classes: int | None = None,
    input_shape: tuple[int, ...] | None = None,
    **settings,
) -> keras.Model:
    """The model that a flag names; it returns logits.

    Args:
      name: the flag's value.
      num_classes, input_shape: what the model must have; None: its own.
      **settings: of the model's function; a file takes none.

    Raises:
      flags.Error: an unknown name, or a model that does not fit.
      PlanError: a file that holds no classifier.
    """
    if not name.endswith(".keras"):
        try:
            return models.build(name, num_classes, input_shape, **settings)
        except ValueError as error:
            first = str(error).strip().splitlines()[0]
            raise flags.Error(f"--model={name}: {first}") from None
    if settings:
        raise flags.Error(f"--model={name}: a file has no setting '{sorted(settings)[0]}'.")
    model = logits_model(load_model(name))
    found = (model.input_shape[1:], model.output_shape[-1])
    for what, has, wanted in zip(
        ("inputs of shape", "classes:"), found, (input_shape, num_classes), strict=True
    ):
        if wanted is not None and has != wanted:
            raise flags.Error(
                f"--model={name}: it has {what} {has}, the data {wanted}; give a model made for "
                "this data."
            )
    return model
