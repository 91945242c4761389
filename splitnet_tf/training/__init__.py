"""The custom loop, schedules, checkpoints, logs and evaluation."""

from splitnet_tf.training.convergence import GroupingConverged, Patience
from splitnet_tf.training.evaluation import Evaluation, compiled_forward, evaluate
from splitnet_tf.training.options import TrainOptions
from splitnet_tf.training.run_directory import RunDirectory, base_places, read_config
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
    "compiled_forward",
    "cosine",
    "evaluate",
    "ramp",
    "base_places",
    "read_config",
    "step_decay",
]
