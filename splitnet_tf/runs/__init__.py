"""Run folders: settings, results, checkpoints and logs; no TensorFlow."""

from splitnet_tf.runs.lineage import base_digest, base_places, is_shrink, may_be_base
from splitnet_tf.runs.results import GroupResult, ShrinkResult, SparseResult, SplitResult
from splitnet_tf.runs.run_folder import RunDirectory, read_config

__all__ = [
    "GroupResult",
    "RunDirectory",
    "ShrinkResult",
    "SparseResult",
    "SplitResult",
    "base_digest",
    "base_places",
    "is_shrink",
    "may_be_base",
    "read_config",
]
