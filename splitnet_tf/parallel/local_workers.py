"""Workers on this machine, one to a core: several devices where there is a processor only."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

from splitnet_tf.errors import ClusterError
from splitnet_tf.parallel.cluster import wait_for_workers
from splitnet_tf.parallel.network import free_port


class LocalWorkers:
    """Worker processes, each pinned to a core and with one thread; a context manager.

    Args:
      count: int, number of workers, at most the number of cores.

    Attributes:
      addresses: ``127.0.0.1:port`` of each worker.

    Raises:
      ClusterError: there are fewer cores, or a worker does not start.
    """

    def __init__(self, count: int):
        cores = sorted(os.sched_getaffinity(0))
        if count > len(cores):
            raise ClusterError(f"{count} workers need a core each; there are {len(cores)} cores.")
        ports = [free_port() for _ in range(count)]
        self.addresses = tuple(f"127.0.0.1:{p}" for p in ports)
        self._logs = [tempfile.TemporaryFile("w+") for _ in ports]  # noqa: SIM115
        command = [sys.executable, "-m", "splitnet_tf.cli.worker"]
        self._processes = [
            subprocess.Popen(
                [*command, f"--port={port}", f"--cores={core}"],
                stdout=log,
                stderr=subprocess.STDOUT,
            )
            for port, core, log in zip(ports, cores, self._logs, strict=False)
        ]

    def __enter__(self) -> LocalWorkers:
        lost = wait_for_workers(self.addresses, seconds=120, timeout=5)
        if lost is not None:
            self.close()
            raise lost
        return self

    def __exit__(self, *error) -> None:
        self.close()

    def close(self) -> None:
        """Ends the workers."""
        for process in self._processes:
            process.kill()
            process.wait()
        for log in self._logs:
            log.close()

    def peak_bytes(self) -> list[int]:
        """Returns the most memory that each worker has held so far, in bytes, on Linux."""
        found = []
        for process in self._processes:
            status = Path(f"/proc/{process.pid}/status").read_text()
            line = next(x for x in status.splitlines() if x.startswith("VmHWM"))
            found.append(1024 * int(line.split()[1]))
        return found
