"""``--devices``, ``--trunk`` and ``--cluster``, and what to do when a worker is lost."""

from __future__ import annotations

import logging
import os
import sys
import threading
from collections.abc import Callable

import tensorflow as tf
from absl import flags

from splitnet_tf.analysis import TRUNK_MODES
from splitnet_tf.cli.define import define_float, define_list
from splitnet_tf.cli.program import run_program, say
from splitnet_tf.errors import ClusterError
from splitnet_tf.parallel import Cluster, prepare_devices, wait_for_workers
from splitnet_tf.parallel.cluster import check_addresses

FLAGS = flags.FLAGS
flags.disclaim_key_flags()

# One thread decides what happens when a worker is lost; any other waits for the process to end.
_deciding = threading.Lock()
_clusters: list[Cluster] = []

# Flags with which a program goes on after a worker was lost, besides its own.
RELAUNCH: list[str] = []


def define_device_flags(work: str) -> None:
    """Flags that place a tree; ``work`` is what it then does."""
    define_worker_flags(f"{work} the tree on")
    flags.DEFINE_enum(
        "trunk",
        "replicate",
        list(TRUNK_MODES),
        "Place of the trunk with --devices: on every device beside its branches (replicate), "
        "alone on the first (separate), or on every device for its share of the batch "
        "(shard).",
    )


def define_worker_flags(work: str) -> None:
    """Flags of devices, of workers, and of what to do without them; ``work`` is done on them."""
    define_list("devices", [], f"{work} these devices, such as /GPU:0,/GPU:1.")
    define_list(
        "cluster",
        [],
        f"{work} these workers, host:port,... (see splitnet-worker). Without --devices, the first "
        "device of each is used.",
    )
    flags.DEFINE_enum(
        "on_worker_loss",
        "stop",
        ["stop", "retry", "local"],
        "Action when a worker is lost: stop; wait until it is back and continue (retry); or "
        "continue without workers (local). Training continues from its newest checkpoint, an "
        "evaluation begins anew.",
    )
    define_float("worker_timeout", 10.0, "Seconds within which a worker must answer.", 0.1, 86_400)
    define_float(
        "worker_wait", 600.0, "Seconds to wait for a worker with --on_worker_loss=retry.", 0, 1e7
    )


def chosen_devices() -> list[str]:
    """The devices that the flags name, ready to be used; none: the tree is not placed."""
    if not FLAGS.cluster:
        prepare_devices(FLAGS.devices)
        return FLAGS.devices
    check_addresses(FLAGS.cluster)  # what is no address will not come back
    if FLAGS.worker_timeout < 1:
        logging.warning("--worker_timeout=%g takes a busy worker for lost.", FLAGS.worker_timeout)
    try:
        _clusters.append(Cluster(FLAGS.cluster, FLAGS.worker_timeout, _lost))
    except ClusterError as error:
        _lost(error)
    return FLAGS.devices or list(_clusters[0].devices)


def run_on_devices(main: Callable[[], None]) -> None:
    """``run_program`` for programs with these flags."""

    def guarded():
        try:
            main()
        except tf.errors.OpError as error:
            if not _clusters:
                raise
            _lost(_clusters[0].find_lost() or _restarted(error))

    run_program(guarded)


def _restarted(error: tf.errors.OpError) -> ClusterError:
    reason = (error.message.strip().splitlines() or [type(error).__name__])[-1]
    return ClusterError(f"A worker of {','.join(FLAGS.cluster)} has begun anew: {reason[:200]}.")


def _lost(error: ClusterError) -> None:
    """Ends the process, or puts the same program in its place; does not return.

    TensorFlow cannot be made to forget a worker, so that what goes on is a new process.
    """
    with _deciding:
        if FLAGS.on_worker_loss == "stop":
            say(
                f"{error} Restart the worker and run again, or go on with "
                "--on_worker_loss=retry or local."
            )
            os._exit(1)  # an orderly exit would wait for the worker
        command = [sys.executable, *sys.orig_argv[1:]]
        command += RELAUNCH
        if FLAGS.on_worker_loss == "local":
            logging.warning("%s Going on without workers.", error)
            command += ["--cluster=", "--devices="]
            command += ["--distribute=none"] if "distribute" in FLAGS else []
        else:
            logging.warning("%s Waiting for it.", error)
            still = wait_for_workers(FLAGS.cluster, FLAGS.worker_wait, FLAGS.worker_timeout)
            if still is not None:
                say(f"{still} It has not come back within --worker_wait={FLAGS.worker_wait:g} s.")
                os._exit(1)
            logging.warning("The workers answer; going on.")
        logging.shutdown()
        sys.stdout.flush()
        os.execv(command[0], command)
