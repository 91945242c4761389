"""Flags of the group program that concern groups: their number, weights, start and end."""

from __future__ import annotations

from absl import flags

from splitnet_tf import models
from splitnet_tf.cli.define import MAX_EPOCHS, MODEL_HELP, define_float, define_integer, define_text
from splitnet_tf.grouping import SplitPlan
from splitnet_tf.grouping.start import FEATURES
from splitnet_tf.models.short_forms import parse_splits
from splitnet_tf.stages.given import CLUSTERS_OF
from splitnet_tf.stages.networks import model_settings
from splitnet_tf.training.options import MAX_STEPS

FLAGS = flags.FLAGS
flags.disclaim_key_flags()


def define_model_flags() -> None:
    """Flags that choose the network."""
    define_text("model", None, f"Network: {MODEL_HELP} Default: from the next two.")
    define_integer("num_residual_units", 2, "Units in a stage of the Wide ResNet.", 1, 100)
    define_integer("k", 8, "Width of the Wide ResNet.", 1, 100)
    define_float(
        "dropout_keep_prob",
        None,
        "Share of features that dropout keeps, of a Wide ResNet in its split units. Default: the "
        "model's own, half in AlexNet, all in other models by name. A .keras file keeps its own.",
        0.01,
        1,
    )
    flags.DEFINE_boolean("bn_no_scale", False, "Batch norm without scale.")
    define_text("basemodel", None, "Run folder or .keras file whose weights training starts from.")


def define_split_flags() -> None:
    """Flags that say where a network is split, and the weights of the split losses."""
    define_text("splits", None, "Groups from the bottom up: 2-2-2, or <layer>:<groups>,...")
    define_integer("ngroups1", 2, "Groups of the logits.", 1, 10_000)
    define_integer("ngroups2", 2, "Groups of the third stage.", 1, 10_000)
    define_integer("ngroups3", 2, "Groups of the second stage.", 1, 10_000)
    order = "The paper's order; the 2017 code numbered them otherwise."
    define_float("gamma1", 1.0, f"Weight of R_W, group weights. {order}", 0, 1e6)
    define_float("gamma2", 1.0, f"Weight of R_D, disjointness. {order}", 0, 1e6)
    define_float("gamma3", 10.0, f"Weight of R_E, balance. {order}", 0, 1e6)
    flags.DEFINE_enum(
        "scaling",
        "unit",
        ["unit", "paper"],
        "Scaling of the split losses: a size that does not depend on the layer's, or the paper's "
        "plain equations.",
    )
    flags.DEFINE_boolean(
        "weighted_group_loss",
        False,
        "Mean of R_W over kernels weighted by their own R_W, as in the 2017 code.",
    )


def define_learning_flags() -> None:
    """Flags that say how the groups are learned, or which are given."""
    define_float(
        "gamma1_growth",
        20.0,
        "Factor by which gamma1 has grown after three fifths of the grouping, so that little is "
        "left off the blocks at the cut.",
        1,
        1e6,
    )
    define_text(
        "grouping",
        "learned",
        "Groups of the classes: learned, semantic (the data's superclasses), clustering (of the "
        "network after the warm-up), random, wordnet, or a .json file: a grouping or a taxonomy.",
    )
    flags.DEFINE_enum(
        "features",
        "learned",
        list(FEATURES),
        "Groups of the features with given classes: learned around them, or split evenly.",
    )
    flags.DEFINE_enum(
        "clusters_of",
        "weights",
        list(CLUSTERS_OF),
        "Source of clustering: the last kernel, or confusions on the validation images.",
    )
    flags.DEFINE_boolean("equal_clusters", True, "Clusters of equal sizes.")
    flags.DEFINE_enum(
        "assignment_init",
        "clustering",
        ["clustering", "random"],
        "Start of the assignments: clusters of the warmed-up weights, or noise (the paper).",
    )
    define_float("warmup_epochs", 5.0, "Epochs before the split losses set in.", 0, MAX_EPOCHS)
    define_float(
        "assignment_lr_scale",
        8.0,
        "Learning rate of the assignments relative to that of the weights.",
        0,
        10_000,
    )
    flags.DEFINE_boolean("finetune", False, "Ten times the learning rate on the split layers.")
    flags.DEFINE_enum(
        "method",
        "argmax",
        ["argmax", "balanced"],
        "Reading of the groups from the assignments: the largest p, or the best groups of equal "
        "size.",
    )
    define_float("converged_p", 0.99, "Least mean largest p of every space for convergence.", 0, 1)
    define_integer(
        "converged_hold",
        3,
        "Evaluations without a channel that changes its group for convergence.",
        0,
        1_000_000,
    )
    define_float(
        "converged_off_block",
        0.002,
        "Largest share of the split kernels' energy outside the blocks for convergence.",
        0,
        1,
    )
    define_integer(
        "group_summary_interval",
        0,
        "Steps between pictures of the groups, drawn at evaluations; 0 for every fifth of those.",
        0,
        MAX_STEPS,
    )


def model_name(values: flags.FlagValues = FLAGS) -> str:
    """Name of the model that flags choose."""
    return values.model or models.wide_resnet_name(values.num_residual_units, values.k)


def sections(values: flags.FlagValues = FLAGS) -> list[tuple[str, int]]:
    """Sections that flags choose."""
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
    unused = ("features",) if name == "learned" else ("assignment_init",)
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
