"""Flags of the group program that concern groups: their number, weights, start and end."""

from __future__ import annotations

from absl import flags

from splitnet_tf import models
from splitnet_tf.cli.define import (
    MAX_EPOCHS,
    MODEL_HELP,
    define_budget,
    define_float,
    define_integer,
    define_text,
)
from splitnet_tf.data import Dataset
from splitnet_tf.grouping import SplitPlan
from splitnet_tf.grouping.recipe import STARTS
from splitnet_tf.grouping.start import FEATURES
from splitnet_tf.models.short_forms import parse_splits
from splitnet_tf.stages.auto_splits import AUTO, DECIDING, kept_sections, sections_within
from splitnet_tf.stages.base import Sections
from splitnet_tf.stages.given import CLUSTERS_OF
from splitnet_tf.stages.networks import model_settings
from splitnet_tf.training.options import MAX_STEPS

FLAGS = flags.FLAGS
flags.disclaim_key_flags()


def define_model_flags() -> None:
    """Flags that choose the network."""
    define_text(
        "model",
        None,
        f"Model: {MODEL_HELP} Defaults to the Wide ResNet of --num_residual_units and --k.",
    )
    define_integer(
        "num_residual_units", 2, "Residual units in each stage of the Wide ResNet.", 1, 100
    )
    define_integer("k", 8, "Width factor of the Wide ResNet.", 1, 100)
    define_float(
        "dropout_keep_prob",
        None,
        "Share of features that dropout keeps: in the split units of a Wide ResNet, or in the"
        " dropout layers of another model. Defaults to the model's own (half in AlexNet; all "
        "in other models by name). A .keras file keeps its own.",
        0.01,
        1,
    )
    flags.DEFINE_boolean(
        "bn_no_scale",
        False,
        "Build the batch norms of a Wide ResNet without scale. group.sh gives it; other "
        "models need --bn_no_scale=false after it.",
    )
    define_text("basemodel", None, "Trained model to start from: a .keras file or a run folder.")


def define_split_flags() -> None:
    """Flags that say where a network is split, and the weights of the split losses."""
    define_text(
        "splits",
        None,
        "Groups of each section from the bottom up, such as 2-2-2 for a model with a short "
        "form; <layer>:<groups>,...; or auto, the shallowest cut that keeps --max_params and "
        "--max_flops. Defaults to --ngroups3, --ngroups2 and --ngroups1.",
    )
    define_budget("max_params", "Most parameters of the tree with --splits=auto")
    define_budget("max_flops", "Most FLOPs of the tree for one image with --splits=auto")
    define_integer("num_groups", 2, "Groups of the cut of --splits=auto.", 2, 10_000)
    define_integer("ngroups1", 2, "Groups of the logits.", 1, 10_000)
    define_integer("ngroups2", 2, "Groups of the third stage of the Wide ResNet.", 1, 10_000)
    define_integer("ngroups3", 2, "Groups of the second stage of the Wide ResNet.", 1, 10_000)
    define_gamma_flags()
    flags.DEFINE_enum(
        "scaling",
        "unit",
        ["unit", "paper"],
        "Size of the split losses: independent of the layer's size (unit), or as in the "
        "paper's equations (paper).",
    )
    flags.DEFINE_boolean(
        "weighted_group_loss",
        False,
        "Weight each kernel's R_W by itself, as in the 2017 code, in place of the mean over "
        "kernels.",
    )
    flags.DEFINE_boolean(
        "gates",
        False,
        "Multiply the split kernels by a block mask that closes while the groups are learned, so "
        "that the cross entropy reaches the assignments.",
    )


def define_gamma_flags() -> None:
    """Flags of the weights of the split losses."""
    order = "The paper's order; the 2017 code numbered them otherwise."
    define_float("gamma1", 1.0, f"Weight of R_W, the weights between groups. {order}", 0, 1e6)
    define_float("gamma2", 1.0, f"Weight of R_D, the overlap of groups. {order}", 0, 1e6)
    define_float("gamma3", 10.0, f"Weight of R_E, the imbalance of groups. {order}", 0, 1e6)


def define_pace_flag() -> None:
    """``--assignment_lr_scale``."""
    define_float(
        "assignment_lr_scale",
        8.0,
        "Learning rate of the assignments relative to that of the weights.",
        0,
        10_000,
    )


def define_learning_flags() -> None:
    """Flags that say how the groups are learned, or which are given."""
    define_float(
        "gamma1_growth",
        20.0,
        "Factor by which gamma1 has grown after --growth_share of the grouping, so that little is "
        "left off the blocks at the cut.",
        1,
        1e6,
    )
    define_float(
        "growth_share",
        0.6,
        "Share of the epochs after the warm-up over which gamma1 grows, and gates close.",
        0,
        1,
    )
    define_float(
        "gamma2_delay", 0.0, "Share of the epochs after the warm-up before R_D sets in.", 0, 1
    )
    define_start_flags()
    define_float("warmup_epochs", 5.0, "Epochs before the split losses set in.", 0, MAX_EPOCHS)
    define_pace_flag()
    flags.DEFINE_boolean("finetune", False, "Multiply the gradients of the split layers by ten.")
    define_given_flags()
    define_end_flags()


def define_start_flags() -> None:
    """Flags that say how the assignments start after the warm-up."""
    flags.DEFINE_enum(
        "assignment_init",
        "clustering",
        list(STARTS),
        "Start of the assignments after the warm-up: clusters of the weights (clustering); "
        "clusters whose classes and features are exchanged so that R_W falls (exchange); or noise "
        "as in the paper (random).",
    )
    define_float(
        "start_p",
        0.9,
        "Membership of a channel in its group at a start that is not random; above 1 / groups.",
        0.01,
        0.999,
    )


def define_given_flags() -> None:
    """Flags that give groups of the classes in place of learning them."""
    define_text(
        "grouping",
        "learned",
        "Groups of the classes: learned; semantic, the superclasses of the data; clustering, "
        "of the network after the warm-up; random; wordnet; or a .json file with a grouping "
        "or a taxonomy.",
    )
    flags.DEFINE_enum(
        "features",
        "learned",
        list(FEATURES),
        "Groups of the features when the classes are given: learned around the classes, or "
        "split evenly.",
    )
    flags.DEFINE_enum(
        "clusters_of",
        "weights",
        list(CLUSTERS_OF),
        "Source of --grouping=clustering: weights of the last kernel, or confusions on the "
        "validation images.",
    )
    flags.DEFINE_boolean("equal_clusters", True, "Clusters of equal sizes.")


def define_end_flags() -> None:
    """Flags that say when the groups have converged, how they are read and shown."""
    flags.DEFINE_enum(
        "method",
        "argmax",
        ["argmax", "balanced"],
        "Reading of groups from the assignments: the largest p (argmax), or the best groups "
        "of equal size (balanced).",
    )
    define_float(
        "converged_p",
        0.99,
        "Convergence of the grouping: smallest mean largest p over all spaces.",
        0,
        1,
    )
    define_integer(
        "converged_hold",
        3,
        "Convergence of the grouping: evaluations over which no channel has changed its group.",
        0,
        1_000_000,
    )
    define_float(
        "converged_off_block",
        0.002,
        "Convergence of the grouping: largest share of the split kernels' energy outside the "
        "blocks.",
        0,
        1,
    )
    define_integer(
        "group_summary_interval",
        0,
        "Steps between TensorBoard's pictures of the groups, which are drawn at evaluations; "
        "0 for every fifth evaluation.",
        0,
        MAX_STEPS,
    )


def model_name(values: flags.FlagValues = FLAGS) -> str:
    """Name of the model that flags choose."""
    return values.model or models.wide_resnet_name(values.num_residual_units, values.k)


def check_budget_flags(values: flags.FlagValues = FLAGS) -> None:
    """Refuses ``--splits=auto`` without a budget, and a budget without it."""
    if values.splits == AUTO:
        if not values.max_params and not values.max_flops:
            raise flags.Error(
                "--splits=auto needs a budget: give --max_params or --max_flops, such as "
                "--max_params=0.5x."
            )
        return
    for name in ("max_params", "max_flops", "num_groups"):
        if values[name].value != values[name].default:
            raise flags.Error(f"--{name} has no effect without --splits=auto; leave it out.")


def sections_for(dataset: Dataset, values: flags.FlagValues = FLAGS) -> Sections:
    """Sections that flags choose, or that a budget asks for and a run keeps."""
    if values.splits != AUTO:
        return sections(values)
    wanted = {name: values[name].value for name in DECIDING}
    kept = None if values.restart else kept_sections(values.train_dir, wanted)
    return kept or sections_within(
        *(model_name(values), dataset.num_classes, dataset.input_shape),
        num_groups=values.num_groups,
        max_params=values.max_params,
        max_flops=values.max_flops,
        multi_label=dataset.multi_label,
        outputs=dataset.classifiers,
    )


def sections(values: flags.FlagValues = FLAGS) -> Sections:
    """Sections that flags choose by themselves."""
    name = model_name(values)
    model_settings(name)  # a model that is not there is told before its splits
    return parse_splits(
        values.splits or f"{values.ngroups3}-{values.ngroups2}-{values.ngroups1}", name
    )


def check_grouping_flags(plan: SplitPlan, values: flags.FlagValues = FLAGS) -> None:
    """Refuses flags that would have no effect, and flags that would change given groups."""
    name = values.grouping
    if name != "learned" and not plan.kernels:
        raise flags.Error(f"--grouping={name} has no effect: --splits asks for no group.")
    unused = ("features",) if name == "learned" else ("assignment_init", "start_p")
    unused += ("clusters_of", "equal_clusters") if name != "clustering" else ()
    for flag in unused:
        # What is as by default does no harm; the command of a report names every flag.
        if values[flag].value != values[flag].default:
            raise flags.Error(f"--{flag} has no effect with --grouping={name}; leave it out.")
    if name != "learned" and values.method != "argmax":
        raise flags.Error(
            f"--method={values.method} would change given groups; leave it out with "
            f"--grouping={name}."
        )
