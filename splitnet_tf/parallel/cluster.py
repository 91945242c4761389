"""Workers on other machines: connecting to them, and noticing when one is gone.

TensorFlow's protocol is neither encrypted nor authenticated: anyone who reaches a worker's port
can run code there. Use private networks only.
"""

from __future__ import annotations

import concurrent.futures
import os
import re
import sys
import threading
import time
from collections.abc import Callable, Sequence

import grpc
import tensorflow as tf

from splitnet_tf.errors import ClusterError
from splitnet_tf.parallel.network import free_port, is_loopback, keep_to_interface, own_address

# A call of TensorFlow's own worker service; every worker answers it from a thread of its own,
# however busy it is, and neither the request nor the answer needs decoding here.
_STATUS = "/tensorflow.WorkerService/GetStatus"
_ADDRESS = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[^\s:/\[\]]+):(\d{1,5})")


class Cluster:
    """Workers that this process is connected to, and watches.

    TensorFlow waits for a frozen worker for ever, and nothing in the process can call it back.
    So a thread asks every worker for a sign of life, and ends the process when one gives none.

    Args:
      addresses: ``host:port`` of each worker, in the order of their tasks. A process connects
        once.
      timeout: float, seconds within which a worker must answer. Defaults to 10.
      on_loss: function of the error, called in the watching thread. Defaults to printing the error
        and ending the process with exit code 1.

    Attributes:
      devices: names of the workers' first devices: ``/job:worker/task:0/device:GPU:0``, or CPU.

    Raises:
      ClusterError: an address of another form, or a worker that does not answer.
    """

    def __init__(
        self,
        addresses: Sequence[str],
        timeout: float = 10.0,
        on_loss: Callable[[ClusterError], None] | None = None,
    ):
        self.addresses = check_addresses(addresses)
        self.timeout = timeout
        lost = self.find_lost()
        if lost is not None:
            raise lost
        self._connect()
        self.devices = tuple(map(_first_device, range(len(self.addresses))))
        self._on_loss = on_loss or _end
        self._closed = threading.Event()
        threading.Thread(target=self._watch, name="cluster watch", daemon=True).start()

    def _connect(self) -> None:
        port = free_port()
        # The workers fetch tensors from this process as well.
        own = f"{own_address(self.addresses[0])}:{port}"
        spec = tf.train.ClusterSpec({"worker": list(self.addresses), "client": [own]})
        try:
            tf.config.experimental_connect_to_cluster(spec, job_name="client", protocol="grpc")
            tf.config.list_logical_devices()  # connects in fact
        except (tf.errors.OpError, RuntimeError) as error:
            raise self.find_lost() or ClusterError(
                f"The workers {', '.join(self.addresses)} cannot be connected: "
                f"{str(error).splitlines()[0]}"
            ) from None
        if all(map(is_loopback, self.addresses)):
            keep_to_interface(port, "lo")

    def find_lost(self) -> ClusterError | None:
        """Asks every worker for a sign of life; see the function ``find_lost``."""
        return find_lost(self.addresses, self.timeout)

    def _watch(self) -> None:
        while not self._closed.wait(self.timeout / 5):
            lost = self.find_lost()
            if lost is not None and not self._closed.is_set():
                self._on_loss(lost)
                return

    def close(self) -> None:
        """Stops watching; TensorFlow stays connected as long as the process lives."""
        self._closed.set()


def check_addresses(addresses: Sequence[str]) -> tuple[str, ...]:
    """Checks that each address is ``host:port`` and that none comes twice.

    Raises:
      ClusterError: one is not, or one comes twice, or there is none.
    """
    for address in addresses:
        match = _ADDRESS.fullmatch(address)
        if match is None or not 0 < int(match[2]) < 65536:
            raise ClusterError(
                f"'{address}' is no worker's address; an address is such as host:4601."
            )
    if not addresses or len(set(addresses)) != len(addresses):
        raise ClusterError("A cluster is one worker's address or more, each once.")
    return tuple(addresses)


def find_lost(addresses: Sequence[str], timeout: float) -> ClusterError | None:
    """Asks every worker for a sign of life.

    Args:
      addresses: ``host:port`` of each worker.
      timeout: float, seconds to wait for an answer.

    Returns:
      An error that names the first worker that gives none, or None.
    """
    with concurrent.futures.ThreadPoolExecutor(len(addresses)) as pool:
        answers = list(pool.map(lambda a: _ask(a, timeout), addresses))
    for task, reason in enumerate(answers):
        if reason is not None:
            return ClusterError(f"Worker {task} at {addresses[task]} is lost: {reason}.")
    return None


def wait_for_workers(
    addresses: Sequence[str], seconds: float, timeout: float
) -> ClusterError | None:
    """Waits until every worker answers.

    Args:
      addresses, timeout: see ``find_lost``.
      seconds: float, longest time to wait.

    Returns:
      None, or the error on a worker that does not answer after ``seconds``.
    """
    end = time.monotonic() + seconds
    while (lost := find_lost(addresses, timeout)) is not None:
        if time.monotonic() > end:
            return lost
        time.sleep(1)
    return None


def _ask(address: str, timeout: float) -> str | None:
    """Asks a worker for a sign of life; returns why it gives none, or None."""
    with grpc.insecure_channel(address, options=[("grpc.enable_http_proxy", 0)]) as channel:
        ask = channel.unary_unary(_STATUS, request_serializer=bytes, response_deserializer=bytes)
        try:
            ask(b"", timeout=timeout)
        except grpc.RpcError as error:
            if error.code() is grpc.StatusCode.DEADLINE_EXCEEDED:
                return f"it does not answer within {timeout:g} s"
            if error.code() is grpc.StatusCode.UNAVAILABLE:
                return "nothing answers there"
            return f"what answers there is no worker ({error.code().name.lower()})"
    return None


def _first_device(task: int) -> str:
    """Names a worker's first GPU, or else its CPU."""
    known = [d.name for d in tf.config.list_logical_devices()]
    names = [f"/job:worker/task:{task}/device:{kind}:0" for kind in ("GPU", "CPU")]
    return next(n for n in names if n.replace("/task", "/replica:0/task") in known)


def _end(lost: ClusterError) -> None:
    sys.stdout.flush()
    print(f"error: {lost}", file=sys.stderr, flush=True)
    os._exit(1)  # an orderly exit would wait for the worker
