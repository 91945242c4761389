"""The custom TensorFlow loop: steps, evaluation, logs, exact resume."""

from splitnet_tf.training.evaluation import Evaluation, compiled_forward, evaluate, evaluator
from splitnet_tf.training.hooks import Hook
from splitnet_tf.training.options import TrainOptions
from splitnet_tf.training.step import TrainStep
from splitnet_tf.training.trainer import Trainer, TrainResult

__all__ = [
    "Evaluation",
    "Hook",
    "TrainOptions",
    "TrainResult",
    "TrainStep",
    "Trainer",
    "compiled_forward",
    "evaluate",
    "evaluator",
]
