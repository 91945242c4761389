"""The machine that a row was measured on, on any backend."""

from __future__ import annotations

import os
from importlib import import_module

import keras

from splitnet_tf.analysis.processor import processor_name


def describe_machine() -> dict:
    """Device (the accelerator, or the processor and the cores it may use) and versions."""
    name = keras.backend.backend()
    backend = import_module(name)
    device = f"{len(os.sched_getaffinity(0))} x {processor_name()}"
    if name == "jax" and backend.default_backend() != "cpu":
        device = backend.devices()[0].device_kind
    elif name == "torch" and backend.cuda.is_available():
        device = backend.cuda.get_device_name(0)
    elif name == "tensorflow" and (gpus := backend.config.list_physical_devices("GPU")):
        details = backend.config.experimental.get_device_details(gpus[0])
        device = details.get("device_name", "GPU")
    versions = {n: import_module(n).__version__ for n in ("keras", name, "numpy")}
    return {"device": device, "versions": versions}
