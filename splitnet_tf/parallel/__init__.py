"""Trees and divided models on several devices, and timing on a noisy machine."""

from splitnet_tf.parallel.cluster import Cluster, wait_for_workers
from splitnet_tf.parallel.data_parallel_step import DataParallelTrainStep, data_parallel_devices
from splitnet_tf.parallel.divide_model import divide_model
from splitnet_tf.parallel.divided_model import DividedModel
from splitnet_tf.parallel.local_devices import prepare_devices
from splitnet_tf.parallel.one_device import FORMS, one_device_forward
from splitnet_tf.parallel.placed_step import PlacedTrainStep
from splitnet_tf.parallel.placed_tree import PlacedTree, place
from splitnet_tf.parallel.stream import stream
from splitnet_tf.parallel.timing import Timing, interleave, ratio
from splitnet_tf.parallel.worker import start_worker

__all__ = [
    "FORMS",
    "Cluster",
    "DividedModel",
    "DataParallelTrainStep",
    "PlacedTrainStep",
    "PlacedTree",
    "Timing",
    "divide_model",
    "data_parallel_devices",
    "interleave",
    "one_device_forward",
    "place",
    "prepare_devices",
    "ratio",
    "start_worker",
    "stream",
    "wait_for_workers",
]
