"""SplitNet (ICML 2017) on Keras 3: from a plain classifier to a tree of parallel branches.

model   = sn.models.wide_resnet(depth=16, width=8, num_classes=100)
plan    = sn.SplitPlan.from_sections(model, [("unit_2_0", 2), ("unit_3_0", 2), ("logits", 2)])
grouped = sn.group_model(model, plan, gamma1=1.0, gamma2=1.0, gamma3=10.0)
...                                          # train it; model.losses are the split losses
grouping = sn.read_grouping(grouped)
tree    = sn.split_model(grouped, grouping)  # tree.model is one stock Keras model
placed  = sn.place(tree, ["/GPU:0", "/GPU:1"], trunk="replicate")
"""

import importlib

from splitnet_tf import graph, grouping, models, splitting
from splitnet_tf.analysis import Cost, cost, suggest_cuts
from splitnet_tf.errors import (
    ArgumentError,
    CheckpointError,
    ClusterError,
    DataError,
    GroupingError,
    PlacementError,
    PlanError,
    RunError,
    SplitNetError,
    TrainingError,
)
from splitnet_tf.graph import logits_model, plain_copy, register_activation, register_rule
from splitnet_tf.grouping import (
    Grouping,
    SplitPlan,
    group_model,
    off_block_energy,
    plan_of,
    read_grouping,
    split_losses,
    start_from_clusters,
)
from splitnet_tf.recipe import recalibrate_batch_norm
from splitnet_tf.splitting import SplitTree, split_model
from splitnet_tf.splitting.export import export_tree

__version__ = "0.1.0"

# Names that need TensorFlow, or much time to import, and where they are.
_LATER = {
    "PlacedTrainStep": "splitnet_tf.parallel",
    "place": "splitnet_tf.parallel",
    "compare": "splitnet_tf.stages.evaluate",
    "evaluate_model": "splitnet_tf.stages.evaluate",
    "make_report": "splitnet_tf.report",
    "write_report": "splitnet_tf.report",
}


def __getattr__(name):
    """Imports a name of ``_LATER`` when it is asked for."""
    if name in _LATER:
        return getattr(importlib.import_module(_LATER[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


__all__ = [
    "ArgumentError",
    "CheckpointError",
    "ClusterError",
    "Cost",
    "DataError",
    "Grouping",
    "GroupingError",
    "PlacedTrainStep",
    "PlacementError",
    "PlanError",
    "RunError",
    "SplitNetError",
    "SplitPlan",
    "SplitTree",
    "TrainingError",
    "compare",
    "cost",
    "evaluate_model",
    "export_tree",
    "graph",
    "group_model",
    "grouping",
    "logits_model",
    "make_report",
    "models",
    "off_block_energy",
    "place",
    "plan_of",
    "plain_copy",
    "read_grouping",
    "recalibrate_batch_norm",
    "register_activation",
    "register_rule",
    "split_losses",
    "split_model",
    "splitting",
    "start_from_clusters",
    "suggest_cuts",
    "write_report",
]
