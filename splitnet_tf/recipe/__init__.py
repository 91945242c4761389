"""How a network is trained, on any Keras backend: phases, losses, optimizers, schedules."""

from splitnet_tf.recipe.batch_norm import recalibrate_batch_norm
from splitnet_tf.recipe.losses import BinaryCrossEntropy, CrossEntropy, HeadLosses, loss_for
from splitnet_tf.recipe.optimizers import SGD, AdamW, optimizer_for
from splitnet_tf.recipe.phase import Phase
from splitnet_tf.recipe.schedules import cosine, ramp, step_decay

__all__ = [
    "SGD",
    "AdamW",
    "BinaryCrossEntropy",
    "CrossEntropy",
    "HeadLosses",
    "Phase",
    "cosine",
    "loss_for",
    "optimizer_for",
    "ramp",
    "recalibrate_batch_norm",
    "step_decay",
]
