"""Most memory that a worker holds for one row of Table 5, in workers that did nothing else."""

from __future__ import annotations

import concurrent.futures
import contextlib
import multiprocessing

import tensorflow as tf

from splitnet_tf.benchmarks.table5 import make_cases
from splitnet_tf.parallel import Cluster, stream
from splitnet_tf.parallel.local_workers import LocalWorkers
from splitnet_tf.stages.networks import choose_model


def peak_bytes(
    name: str,
    model: str,
    num_classes: int,
    batch: tuple[int, ...],
    count: int,
    bfloat16: bool = False,
) -> int:
    """Runs one row on new workers, from a new process, as a process connects to workers once.

    Freed memory is not given back to the system: a worker that already ran another row would
    report that row's memory as well.

    Args:
      name: name of the row.
      model: name of the network, see ``choose_model``.
      num_classes: int, classes of the network.
      batch: shape of the images, (B, H, W, C).
      count: int, number of workers.
      bfloat16: bool, whether layers compute in bfloat16. Defaults to False.

    Returns:
      Bytes of the worker that held the most.

    Raises:
      ClusterError: a worker does not start.
    """
    alone = multiprocessing.get_context("spawn")
    with concurrent.futures.ProcessPoolExecutor(1, mp_context=alone) as pool:
        return pool.submit(_peak_bytes, name, model, num_classes, batch, count, bfloat16).result()


def _peak_bytes(name, model, num_classes, batch, count, bfloat16):
    with (
        LocalWorkers(count) as workers,
        contextlib.closing(Cluster(workers.addresses)) as cluster,
    ):
        network = choose_model(model, num_classes, batch[1:])
        way = make_cases(network, cluster.devices, bfloat16=bfloat16)[name]()
        for logits in stream(way, [tf.zeros(batch)] * 2):
            logits.numpy()
        return max(workers.peak_bytes())
