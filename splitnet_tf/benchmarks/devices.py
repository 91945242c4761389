"""The paper's Table 5 on the GPUs of this machine, or on workers with a core each."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf

from splitnet_tf.benchmarks.machine import describe_machine
from splitnet_tf.benchmarks.peak_memory import peak_bytes
from splitnet_tf.benchmarks.table5 import ROWS, measure
from splitnet_tf.errors import ArgumentError
from splitnet_tf.parallel import Cluster, prepare_devices
from splitnet_tf.parallel.local_workers import LocalWorkers
from splitnet_tf.stages.networks import choose_model


def benchmark_devices(
    name: str,
    num_classes: int,
    input_shape: tuple[int, int, int],
    *,
    devices: Sequence[str] = (),
    workers: int | None = None,
    batch_size: int = 100,
    batches: int = 4,
    repeats: int = 3,
    rows: Sequence[str] = (),
    bfloat16: bool = False,
) -> dict[str, Any]:
    """Times every way to run a wide residual network on several devices.

    Args:
      name: name of the network, ``wrn-16-8`` say.
      num_classes: int, classes of the network.
      input_shape: (height, width, channels) of an image.
      devices: two names or more. Defaults to all GPUs, or else to workers.
      workers: int, workers without ``devices``, one to a core. Defaults to 2.
      batch_size: int, images in a batch. Defaults to 100.
      batches: int, batches that are timed at once. Defaults to 4.
      repeats: int, timed rounds, interleaved. Defaults to 3.
      rows: beginnings of the names of the rows to time. Defaults to all.
      bfloat16: bool, whether layers compute in bfloat16 in every row. Defaults to False.

    Returns:
      The document that ``table5.as_text`` prints and ``draw_speed_ups`` draws.

    Raises:
      ArgumentError: another network, a single device, or a row that is not in the table.
      ClusterError: there are fewer cores than workers.
    """
    if not name.startswith("wrn-"):
        raise ArgumentError(f"`model={name}`: Table 5 is of wide residual networks (wrn-...).")
    if len(devices) == 1:
        raise ArgumentError(f"`devices={devices[0]}`: Table 5 needs two devices or more.")
    for row in rows:
        if not any(known.startswith(row) for known in ROWS):
            raise ArgumentError(
                f"`rows`: '{row}' begins no row of Table 5; there are {', '.join(ROWS)}."
            )
    prepare_devices(devices)
    devices = list(devices) or [
        d.name.removeprefix("/device:") for d in tf.config.list_logical_devices("GPU")
    ]
    if len(devices) > 1 and workers is not None:
        raise ArgumentError(
            f"`workers` has no effect with the devices {', '.join(devices)}; leave it out."
        )
    on_workers, count = len(devices) < 2, workers or 2
    with contextlib.ExitStack() as stack:
        if on_workers:
            local = stack.enter_context(LocalWorkers(count))
            cluster = stack.enter_context(contextlib.closing(Cluster(local.addresses)))
            devices = cluster.devices
        # After the connection: TensorFlow loses variables that were there before.
        keras.utils.set_random_seed(0)
        network = choose_model(name, num_classes, input_shape)
        document = measure(
            *(network, devices, batch_size, batches, repeats, rows), bfloat16=bfloat16
        )
    work = (name, num_classes, (batch_size, *input_shape), count, bfloat16)
    for row in document["rows"]:
        row["peak_bytes"] = peak_bytes(row["name"], *work) if on_workers else None
    return {"model": name, "machine": describe_machine(), **document}
