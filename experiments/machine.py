"""What a row was measured on."""

from __future__ import annotations

import platform
from importlib import metadata
from pathlib import Path

import keras


def describe_machine() -> dict:
    """Backend, device, precision and versions."""
    backend = keras.backend.backend()
    return {
        "backend": backend,
        "device": _device(backend),
        "precision": keras.config.dtype_policy().name,
        "versions": {name: metadata.version(name) for name in ("keras", backend, "numpy")},
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
    names = [
        line.split(":")[1].strip()
        for line in Path("/proc/cpuinfo").read_text().splitlines()
        if line.startswith("model name")
    ]
    return f"{len(names)} x {names[0]}" if names else platform.processor()
