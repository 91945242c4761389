"""``--distribute``: the devices that each take a share of every batch."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from absl import flags

from splitnet_tf.parallel.data_parallel_step import MIRRORED
from splitnet_tf.stages.loop import Loop

FLAGS = flags.FLAGS
flags.disclaim_key_flags()

NONE, WORKERS = "none", "multiworker"


def define_distribute_flags() -> None:
    """Flags that divide batches over devices."""
    flags.DEFINE_enum(
        "distribute",
        NONE,
        [NONE, MIRRORED, WORKERS],
        "Division of every batch over devices from the first step: over --devices, or all GPUs "
        "(mirrored); over the workers of --cluster (multiworker); or one device (none).",
    )
    flags.DEFINE_boolean(
        "sync_batch_norm",
        False,
        "Normalize by the statistics of the whole batch with --distribute, not by those of each "
        "device's share.",
    )


def check_distribute_flags(places: bool) -> None:
    """Refuses devices that do not fit ``--distribute``.

    Args:
      places: bool, whether the program also places trees on devices.
    """
    if FLAGS.distribute == WORKERS and not FLAGS.cluster:
        raise flags.Error("--distribute=multiworker needs --cluster, the workers' addresses.")
    if FLAGS.distribute == MIRRORED and FLAGS.cluster:
        raise flags.Error(
            "--distribute=mirrored takes devices of this machine; for --cluster give "
            "--distribute=multiworker."
        )
    if FLAGS.distribute == NONE and not places:
        for name in ("devices", "cluster"):
            if FLAGS[name].value:
                raise flags.Error(f"--{name} has no effect without --distribute; leave it out.")


def over_devices(loop: Loop, devices: Sequence[str]) -> Loop:
    """The loop of the other flags, with the devices that divide its batches.

    Args:
      devices: from ``chosen_devices``.
    """
    loop = dataclasses.replace(loop, sync_batch_norm=FLAGS.sync_batch_norm)
    if FLAGS.distribute == NONE:
        return loop
    return dataclasses.replace(loop, distribute=tuple(devices) or MIRRORED)
