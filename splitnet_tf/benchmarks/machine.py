"""Machine on which times are taken."""

from __future__ import annotations

import os
import platform
from typing import Any

import keras
import tensorflow as tf

from splitnet_tf.analysis.processor import processor_name


def describe_machine() -> dict[str, Any]:
    """Returns the processor, its threads, the GPUs and the versions that times depend on."""
    return {
        "processor": processor_name(),
        "threads": tf.config.threading.get_intra_op_parallelism_threads()
        or len(os.sched_getaffinity(0)),
        "gpus": [d.name for d in tf.config.list_physical_devices("GPU")],
        "python": platform.python_version(),
        "tensorflow": tf.__version__,
        "keras": keras.__version__,
    }
