"""What a row was measured on."""

from __future__ import annotations

import os
from importlib import import_module

import keras

from splitnet_tf.analysis.processor import processor_name


def describe_machine() -> dict:
    """Device and versions."""
    backend = keras.backend.backend()
    return {
        "device": _device(backend),
        "versions": {name: import_module(name).__version__ for name in ("keras", backend, "numpy")},
    }


def _device(backend: str) -> str:
    """The accelerator, or the processor."""
    if backend == "jax":
        import jax

        if jax.default_backend() != "cpu":
            return jax.devices()[0].device_kind
    elif backend == "torch":
        import torch

        if torch.cuda.is_available():
            return torch.cuda.get_device_name(0)
    else:
        import tensorflow as tf

        gpus = tf.config.list_physical_devices("GPU")
        if gpus:
            return tf.config.experimental.get_device_details(gpus[0]).get("device_name", "GPU")
    return f"{len(os.sched_getaffinity(0))} x {processor_name()}"  # cores it may use
