"""A worker: a process that runs its part of a placed tree for another one."""

from __future__ import annotations

import os
import socket
from collections.abc import Sequence

import tensorflow as tf

from splitnet_tf.errors import ClusterError
from splitnet_tf.parallel.network import keep_to_interface


def start_worker(
    port: int, interface: str = "lo", cores: Sequence[int] = (), threads: int = 0
) -> tf.distribute.Server:
    """Starts a worker in this process; its ``join()`` waits for ever.

    Call this before TensorFlow has run anything.

    Args:
      port: int, port to listen on.
      interface: network interface to be reached through, see ``keep_to_interface``. There is
        neither encryption nor authentication: use private networks only. Defaults to ``"lo"``.
      cores: ints, the only processor cores to run on. Defaults to all.
      threads: int, threads of TensorFlow's operations. Defaults to 0: as many as cores.

    Raises:
      ClusterError: the port is taken, or the cores or the interface are not there.
    """
    if cores:
        _pin(cores)
    if threads:
        tf.config.threading.set_intra_op_parallelism_threads(threads)
        tf.config.threading.set_inter_op_parallelism_threads(threads)
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("", port))
        except OSError as error:
            raise ClusterError(f"Port {port} cannot be used: {error.strerror}.") from None
    server = tf.distribute.Server({"worker": [f"localhost:{port}"]}, protocol="grpc")
    keep_to_interface(port, interface)
    return server


def _pin(cores: Sequence[int]) -> None:
    try:
        for task in os.listdir("/proc/self/task"):
            os.sched_setaffinity(int(task), cores)
    except (OSError, ValueError, OverflowError) as error:
        there = sorted(os.sched_getaffinity(0))
        raise ClusterError(
            f"Cores {', '.join(map(str, cores))} cannot be used ({error}); there are "
            f"{', '.join(map(str, there))}."
        ) from None
