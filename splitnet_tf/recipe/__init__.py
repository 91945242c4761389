"""Training on any Keras backend: phases, losses, optimizers, schedules, preprocessing."""

from splitnet_tf.recipe.batch_norm import recalibrate_batch_norm
from splitnet_tf.recipe.distillation import TaughtCrossEntropy
from splitnet_tf.recipe.losses import BinaryCrossEntropy, CrossEntropy, HeadLosses, loss_for
from splitnet_tf.recipe.optimizers import SGD, AdamW, optimizer_for
from splitnet_tf.recipe.phase import Phase
from splitnet_tf.recipe.preprocessing import Preprocessing, with_preprocessing
from splitnet_tf.recipe.schedules import Rate, cosine, ramp, rate_of, step_decay
from splitnet_tf.recipe.taught_data import TaughtData

__all__ = [
    "SGD",
    "AdamW",
    "BinaryCrossEntropy",
    "CrossEntropy",
    "HeadLosses",
    "Phase",
    "Preprocessing",
    "Rate",
    "TaughtCrossEntropy",
    "TaughtData",
    "cosine",
    "loss_for",
    "optimizer_for",
    "ramp",
    "rate_of",
    "recalibrate_batch_norm",
    "step_decay",
    "with_preprocessing",
]
