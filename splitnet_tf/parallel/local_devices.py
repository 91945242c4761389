"""Several CPU devices in one process."""

from __future__ import annotations

from collections.abc import Sequence

import tensorflow as tf

from splitnet_tf.errors import PlacementError

MOST = 1023  # the highest index of a device


def check_name(name: str) -> tf.DeviceSpec:
    """Parses the name of a device, such as ``/GPU:1``.

    Raises:
      PlacementError: it is not the name of a device.
    """
    try:
        spec = tf.DeviceSpec.from_string(name)
    except ValueError:
        spec = tf.DeviceSpec()
    index = spec.device_index
    if spec.device_type is None or index is None or not 0 <= index <= MOST:
        raise PlacementError(f"'{name}' is no device; a name is such as /CPU:0 or /GPU:1.")
    return spec


def prepare_devices(names: Sequence[str]) -> None:
    """Makes as many logical CPU devices as ``/CPU:N`` among the names ask for.

    The devices share the machine's threads. Call this before TensorFlow has run anything.

    Args:
      names: devices, such as ``["/CPU:0", "/CPU:1"]``.

    Raises:
      PlacementError: a name of another form, a device that is not there, or TensorFlow has
        already begun.
    """
    highest = 0
    for name in names:
        spec = check_name(name)
        index = spec.device_index
        if spec.job is not None:
            continue
        if spec.device_type == "CPU":
            highest = max(highest, index)
        elif index >= len(there := tf.config.list_physical_devices(spec.device_type)):
            raise PlacementError(
                f"Device '{name}' is not there; of {spec.device_type} there are {len(there)}."
            )
    if not highest:
        return
    cpu = tf.config.list_physical_devices("CPU")[0]
    logical = [tf.config.LogicalDeviceConfiguration()] * (highest + 1)
    try:
        tf.config.set_logical_device_configuration(cpu, logical)
    except RuntimeError:
        raise PlacementError(
            f"TensorFlow has already begun without CPU:{highest}; choose devices first."
        ) from None
