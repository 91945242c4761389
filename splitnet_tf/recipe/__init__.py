"""How a network is trained, on any Keras backend: schedules, precision, batch-norm statistics."""

from splitnet_tf.recipe.batch_norm import recalibrate_batch_norm
from splitnet_tf.recipe.schedules import cosine, ramp, step_decay

__all__ = ["cosine", "ramp", "recalibrate_batch_norm", "step_decay"]
