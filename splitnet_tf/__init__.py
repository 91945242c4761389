"""SplitNet (ICML 2017) on Keras 3: from a plain classifier to a tree of parallel branches.

model    = sn.models.wide_resnet(depth=16, width=8, num_classes=100)
grouped  = sn.group_model(model, [("unit_2_0", 2), ("unit_3_0", 2), ("logits", 2)])
sn.learn_groups(grouped, train, valid, sn.GroupingRecipe(epochs=8))
grouping = sn.read_grouping(grouped)
tree     = sn.split_model(grouped, grouping)  # tree.model is one stock Keras model
sn.recalibrate_batch_norm(tree.model, train)
sn.finetune(tree, train, valid, sn.Phase(epochs=16))
placed   = sn.place(tree, ["/GPU:0", "/GPU:1"], trunk="replicate")
"""

import importlib

from splitnet_tf.quiet import quiet_import

with quiet_import():
    import keras  # noqa: F401, with its backend

from splitnet_tf import graph, grouping, models, sparsity, splitting
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
    SelectionError,
    SplitNetError,
    TrainingError,
)
from splitnet_tf.graph import (
    logits_model,
    place_channels,
    plain_copy,
    register_activation,
    register_rule,
)
from splitnet_tf.grouping import (
    Grouping,
    GroupingRecipe,
    SplitPlan,
    group_model,
    off_block_energy,
    plan_of,
    read_grouping,
    split_losses,
    start_from_clusters,
)
from splitnet_tf.grouping.callbacks import GroupingMonitor, GroupingSchedule
from splitnet_tf.grouping.paces import paces
from splitnet_tf.recipe import (
    SGD,
    AdamW,
    BinaryCrossEntropy,
    CrossEntropy,
    HeadLosses,
    Phase,
    TaughtCrossEntropy,
    TaughtData,
    recalibrate_batch_norm,
)
from splitnet_tf.recipe.optimizers import paced
from splitnet_tf.sparsity import (
    Selection,
    SparsityPlan,
    SparsityRecipe,
    apply_selection,
    keep_zeros,
    read_selection,
    shrink_model,
    sparse_model,
    step_of,
)
from splitnet_tf.splitting import SplitTree, split_model

__version__ = "0.1.0"

# Names that need TensorFlow, or much time to import, and where they are.
_LATER = {
    "GivenClasses": "splitnet_tf.stages.given",
    "Loop": "splitnet_tf.stages.loop",
    "PlacedTrainStep": "splitnet_tf.parallel",
    "Teaching": "splitnet_tf.stages.teaching",
    "check_split": "splitnet_tf.stages.split",
    "GroupingRun": "splitnet_tf.stages.compare",
    "compare": "splitnet_tf.stages.evaluate",
    "compare_crossing": "splitnet_tf.stages.crossing",
    "compare_groupings": "splitnet_tf.stages.compare",
    "DividedModel": "splitnet_tf.parallel",
    "describe_groups": "splitnet_tf.stages.class_groups",
    "divide_model": "splitnet_tf.parallel",
    "evaluate_model": "splitnet_tf.stages.evaluate",
    "export_tree": "splitnet_tf.stages.export",
    "finetune": "splitnet_tf.stages.finetune",
    "given_classes": "splitnet_tf.stages.given",
    "learn_groups": "splitnet_tf.stages.learn_groups",
    "make_report": "splitnet_tf.report",
    "place": "splitnet_tf.parallel",
    "search_cuts": "splitnet_tf.stages.search",
    "shrink": "splitnet_tf.stages.shrink",
    "sparsify": "splitnet_tf.stages.sparsify",
    "split": "splitnet_tf.stages.split",
    "write_report": "splitnet_tf.report",
}


def __getattr__(name):
    """Imports a name of ``_LATER`` when it is asked for."""
    if name in _LATER:
        return getattr(importlib.import_module(_LATER[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


__all__ = [
    "SGD",
    "AdamW",
    "ArgumentError",
    "BinaryCrossEntropy",
    "CheckpointError",
    "ClusterError",
    "Cost",
    "CrossEntropy",
    "DataError",
    "DividedModel",
    "GivenClasses",
    "Grouping",
    "GroupingError",
    "GroupingMonitor",
    "GroupingRecipe",
    "GroupingRun",
    "GroupingSchedule",
    "HeadLosses",
    "Loop",
    "Phase",
    "PlacedTrainStep",
    "PlacementError",
    "PlanError",
    "RunError",
    "Selection",
    "SelectionError",
    "SparsityPlan",
    "SparsityRecipe",
    "SplitNetError",
    "SplitPlan",
    "SplitTree",
    "TaughtCrossEntropy",
    "TaughtData",
    "Teaching",
    "TrainingError",
    "apply_selection",
    "check_split",
    "compare",
    "compare_crossing",
    "compare_groupings",
    "cost",
    "describe_groups",
    "divide_model",
    "evaluate_model",
    "export_tree",
    "finetune",
    "given_classes",
    "graph",
    "group_model",
    "grouping",
    "keep_zeros",
    "learn_groups",
    "logits_model",
    "make_report",
    "models",
    "off_block_energy",
    "paced",
    "paces",
    "place",
    "place_channels",
    "plain_copy",
    "plan_of",
    "read_grouping",
    "read_selection",
    "recalibrate_batch_norm",
    "register_activation",
    "register_rule",
    "search_cuts",
    "shrink",
    "shrink_model",
    "sparse_model",
    "sparsify",
    "sparsity",
    "split",
    "split_losses",
    "split_model",
    "splitting",
    "start_from_clusters",
    "step_of",
    "suggest_cuts",
    "write_report",
]
