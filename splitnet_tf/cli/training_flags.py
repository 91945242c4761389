"""Flags that grouping and finetuning share, and the options made of them."""

from __future__ import annotations

import keras
import tensorflow as tf
from absl import flags

from splitnet_tf.cli.class_weight_flag import define_class_weight_flag
from splitnet_tf.cli.data_flags import define_augment_flag, today
from splitnet_tf.cli.define import (
    MAX_EPOCHS,
    Number,
    define_float,
    define_integer,
    define_list,
    define_text,
)
from splitnet_tf.data import Dataset
from splitnet_tf.recipe.augmentation import RAND_AUGMENT
from splitnet_tf.recipe.losses import HeadLosses
from splitnet_tf.recipe.phase import OPTIMIZERS, Phase
from splitnet_tf.runs import RunDirectory
from splitnet_tf.runs.names import RESULTS
from splitnet_tf.stages.data_loss import data_loss
from splitnet_tf.stages.loop import Loop
from splitnet_tf.training.options import MAX_STEPS, ON_NAN

FLAGS = flags.FLAGS
flags.disclaim_key_flags()

# Flags that do not change how a run trains, and devices: a run may go on elsewhere.
# What is in --basemodel and --teacher has a digest among the settings.
FREE_FLAGS = (
    "data_dir train_dir basemodel teacher restart method on_nan group_summary_interval devices "
    "trunk cluster on_worker_loss worker_timeout worker_wait distribute"
).split()

RECIPES = {
    "modern": {"label_smoothing": 0.1, "ema": 0.998, "augment": RAND_AUGMENT, "mixup": 0.2},
}


def define_training_flags(epochs: int, initial_lr: float, final_lr: float) -> None:
    """Flags of the loop, with defaults for one phase."""
    define_text(
        "train_dir", None, "Run folder. The same command again resumes the run.", required=True
    )
    flags.DEFINE_boolean("restart", False, "Remove the content of the run folder and begin anew.")
    define_float("epochs", epochs, "Length of training in epochs.", 0, MAX_EPOCHS)
    define_integer("max_steps", 0, "Length of training in steps; 0 for --epochs.", 0, MAX_STEPS)
    define_float("initial_lr", initial_lr, "Learning rate at the start.", 0, 1000)
    flags.DEFINE_enum(
        "lr_schedule",
        "cosine",
        ["cosine", "step"],
        "Schedule of the learning rate: half a cosine, or steps.",
    )
    define_float(
        "final_lr",
        final_lr,
        "Learning rate at the end of the cosine schedule, at most --initial_lr.",
        0,
        1000,
    )
    define_list(
        "lr_step_epoch",
        ["80", "120", "160"],
        "Epochs at which the step schedule multiplies the learning rate by --lr_decay.",
        Number(float, 0, MAX_EPOCHS),
    )
    define_float("lr_decay", 0.1, "Factor on the learning rate at each of --lr_step_epoch.", 0, 1)
    define_float(
        "lr_warmup_epochs",
        0.0,
        "Epochs over which the learning rate first rises to --initial_lr.",
        0,
        MAX_EPOCHS,
    )
    define_loss_flags()
    define_loop_flags()


def define_patience_flag() -> None:
    """``--patience`` of a finetuning."""
    define_integer(
        "patience",
        0,
        "Evaluations without a better validation accuracy after which finetuning ends; 0 for "
        "never. It ends with the best weights, or with --ema with the averages of its last step.",
        0,
        1_000_000,
    )


def define_loss_flags() -> None:
    """Flags of the optimizer, the loss and the augmentation."""
    define_class_weight_flag()
    flags.DEFINE_enum(
        "optimizer",
        "sgd",
        list(OPTIMIZERS),
        "Optimizer: SGD with momentum, or AdamW, which takes smaller learning rates "
        "(--initial_lr=0.001).",
    )
    define_float("momentum", 0.9, "Momentum of SGD.", 0, 0.9999)
    flags.DEFINE_boolean("nesterov", True, "Nesterov's form of the momentum.")
    define_float(
        "l2_weight",
        5e-4,
        "Weight of half the sum of the squared kernels (L2), which is added to the loss.",
        0,
        0.99,
    )
    define_float(
        "label_smoothing", 0.0, "Share of the target spread evenly over all classes.", 0, 0.99
    )
    define_augment_flag()
    define_recipe_flags()


def define_recipe_flags() -> None:
    """Flags of what helps long trainings, and their preset."""
    flags.DEFINE_enum(
        "recipe",
        None,
        list(RECIPES),
        "Preset of other flags; those that are given win over it. modern is "
        f"{' '.join(f'--{name}={value}' for name, value in RECIPES['modern'].items())}. Defaults "
        "to none.",
    )
    define_float(
        "ema",
        0.0,
        "Momentum of the averaged weights that training ends with, such as 0.998; 0 for none. It "
        "is at most (1 + n) / (10 + n) after n steps, in a grouping n after the warm-up.",
        0,
        0.99999,
    )
    for name, how in (("mixup", "as weighted sums"), ("cutmix", "by windows of images")):
        define_float(
            name,
            0.0,
            f"Number a of the Beta(a, a) by which training examples are mixed in pairs {how}, "
            "with their labels; 0 for none.",
            0,
            100,
        )


def take_recipe(*without: str) -> None:
    """Gives the flags of ``--recipe`` that are not given its values.

    Args:
      without: flags that the program leaves as they are.
    """
    for name, value in RECIPES.get(FLAGS.recipe, {}).items():
        if FLAGS[name].present or name in without:
            continue
        setattr(FLAGS, name, value)


def define_loop_flags() -> None:
    """Flags of the loop: intervals, precision, and what to do when training diverges."""
    define_integer("display", 100, "Steps between lines of progress.", 1, MAX_STEPS)
    define_integer(
        "val_interval",
        0,
        "Steps between evaluations on the validation images; 0 for an epoch.",
        0,
        MAX_STEPS,
    )
    define_integer(
        "checkpoint_interval", 0, "Steps between checkpoints; 0 for an epoch.", 0, MAX_STEPS
    )
    flags.DEFINE_enum(
        "on_nan",
        "stop",
        list(ON_NAN),
        "Action when a loss or a gradient is not finite: stop, or return to the newest "
        "checkpoint and continue at half the learning rate, three times at most.",
    )
    flags.DEFINE_boolean(
        "bfloat16",
        False,
        "Compute layers in bfloat16 while they train, which is faster on GPUs and on some "
        "processors. Weights, split losses, cross entropy, L2 and files stay in float32.",
    )
    flags.DEFINE_boolean("jit_compile", False, "Compile the training step with XLA.")
    flags.DEFINE_boolean(
        "deterministic",
        False,
        "Use deterministic operations, so that the same run ends with the same bits.",
    )


def set_seeds() -> None:
    """Seeds and determinism, as the flags say."""
    keras.utils.set_random_seed(FLAGS.seed)
    if FLAGS.deterministic:
        tf.config.experimental.enable_op_determinism()


def phase_values() -> dict:
    """The values of a ``Phase`` that the flags make.

    Raises:
      flags.Error: a flag of SGD beside another optimizer.
    """
    for flag in ("momentum", "nesterov") if FLAGS.optimizer != "sgd" else ():
        # What is as by default does no harm; the command of a report names every flag.
        if FLAGS[flag].value != FLAGS[flag].default:
            raise flags.Error(f"--{flag} has no effect with --optimizer={FLAGS.optimizer}.")
    final = FLAGS.final_lr
    if not FLAGS["final_lr"].present or FLAGS.lr_schedule == "step":
        final = min(final, FLAGS.initial_lr)
    return {
        "epochs": FLAGS.epochs,
        "rate": FLAGS.initial_lr,
        "final_rate": final,
        "schedule": FLAGS.lr_schedule,
        "drops": tuple(map(float, FLAGS.lr_step_epoch)),
        "decay": FLAGS.lr_decay,
        "rate_warmup_epochs": FLAGS.lr_warmup_epochs,
        "optimizer": FLAGS.optimizer,
        "momentum": FLAGS.momentum,
        "nesterov": FLAGS.nesterov and FLAGS.momentum > 0,
        "l2": FLAGS.l2_weight,
        **{name: FLAGS[name].value for name in ("label_smoothing", "ema", "mixup", "cutmix")},
    }


def loop(patience: int = 0) -> Loop:
    """The loop that the flags make."""
    names = "max_steps display val_interval checkpoint_interval on_nan bfloat16 jit_compile"
    return Loop(patience=patience, **{name: FLAGS[name].value for name in names.split()})


def several_loss(
    dataset: Dataset, network: keras.Model, phase: Phase
) -> keras.losses.Loss | HeadLosses | None:
    """The loss for data with several classes an example or several outputs; None for other data.

    Raises:
      flags.Error: flags of a loss that needs one class an example, and one output.
    """
    if not dataset.multi_label and dataset.classifiers is None:
        return None
    needs = "needs data with one class an example"
    if dataset.classifiers is not None:
        needs = "needs data with labels for one output"
    for name in ("teacher", "group_loss", "class_weight", "mixup", "cutmix"):
        if name in FLAGS and FLAGS[name].value:
            raise flags.Error(f"--{name} {needs}; leave it out.")
    if "clusters_of" in FLAGS and FLAGS.clusters_of == "confusion":
        raise flags.Error(f"--clusters_of=confusion {needs}.")
    return data_loss(dataset, network, phase.label_smoothing)


def make_run(config: dict) -> RunDirectory:
    """The run folder that the flags name, see ``RunDirectory``."""
    defaults = {flag.name: flag.default for flag in program_flags()}

    def of_today(config: dict) -> dict:
        return {**defaults, **today(config)}  # flags that were not there yet had no effect

    return RunDirectory(
        FLAGS.train_dir, config, FLAGS.restart, free=FREE_FLAGS, today=of_today, results=RESULTS
    )


def settings() -> dict:
    """Every flag of the program and its value: what ``config.json`` holds."""
    return {flag.name: flag.value for flag in program_flags()}


def program_flags() -> list[flags.Flag]:
    """The flags that the program defines, without those of libraries."""
    others = ("absl", "etils", "tensorflow", "keras", "pytest")
    return [
        flag
        for module, entries in sorted(FLAGS.flags_by_module_dict().items())
        if not module.startswith(others)
        for flag in entries
    ]
