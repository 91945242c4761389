"""``--devices`` and ``--trunk``."""

from absl import flags

from splitnet_tf.parallel import TRUNK_MODES


def define_device_flags(work: str) -> None:
    """Flags that place a tree; ``work`` is what it then does."""
    flags.DEFINE_list("devices", [], f"{work} the tree on these, such as /GPU:0,/GPU:1.")
    flags.DEFINE_enum(
        "trunk",
        "replicate",
        list(TRUNK_MODES),
        "Where the trunk runs with --devices: on each, alone on the first, or a share on each.",
    )
