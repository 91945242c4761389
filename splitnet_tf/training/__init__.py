"""The custom loop, schedules, checkpoints, logs and evaluation."""

from splitnet_tf.training.bases import base_digest, base_places, may_be_base
from splitnet_tf.training.convergence import GroupingConverged, Patience
from splitnet_tf.training.evaluation import Evaluation, compiled_forward, evaluate
from splitnet_tf.training.options import TrainOptions
from splitnet_tf.training.run_directory import RunDirectory, read_config
from splitnet_tf.training.schedules import cosine, ramp, step_decay
from splitnet_tf.training.step import TrainStep
from splitnet_tf.training.trainer import Trainer, TrainResult

__all__ = [
    "Evaluation",
    "GroupingConverged",
    "Patience",
    "RunDirectory",
    "TrainOptions",
    "TrainResult",
    "TrainStep",
    "Trainer",
    "base_digest",
    "base_places",
    "compiled_forward",
    "cosine",
    "evaluate",
    "may_be_base",
    "ramp",
    "read_config",
    "step_decay",
]
