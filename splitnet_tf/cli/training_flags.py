"""Flags that grouping and finetuning share, and the options made of them."""

from __future__ import annotations

import keras
import tensorflow as tf
from absl import flags

from splitnet_tf.cli.class_weight_flag import define_class_weight_flag
from splitnet_tf.cli.define import (
    MAX_EPOCHS,
    Number,
    define_float,
    define_integer,
    define_list,
    define_text,
)
from splitnet_tf.data import Dataset, check_augmentation, load_dataset
from splitnet_tf.data.feeds import Feed, SplitFeed
from splitnet_tf.recipe.phase import OPTIMIZERS
from splitnet_tf.runs import RunDirectory
from splitnet_tf.runs.names import RESULTS
from splitnet_tf.stages.loop import Loop
from splitnet_tf.training.options import MAX_STEPS, ON_NAN

FLAGS = flags.FLAGS
flags.disclaim_key_flags()

# Flags that do not change how a run trains, and devices: a run may go on elsewhere.
# What is in --basemodel and --teacher has a digest among the settings.
FREE_FLAGS = (
    "data_dir train_dir basemodel teacher restart method on_nan group_summary_interval devices "
    "trunk cluster on_worker_loss worker_timeout worker_wait"
).split()


def define_dataset_flags() -> None:
    """Flags that name the data set."""
    define_text(
        "dataset",
        "cifar100",
        "Data set: cifar100, cifar10, mnist, digits; planted, two groups of classes that share "
        "features; planted-2-2, two groups of two subgroups (--splits=2-4-4 finds both levels); "
        "or an .npz file with your own data.",
    )
    define_text("data_dir", None, "Folder of CIFAR and MNIST. Defaults to ~/tensorflow_datasets.")


def define_data_flags() -> None:
    """Flags that choose the data, its batches and its order."""
    define_dataset_flags()
    define_integer("batch_size", 90, "Images in a batch.", 1, 1_000_000)
    define_integer(
        "seed",
        0,
        "Random seed for weights, data order, augmentation and planted data.",
        0,
        2**31 - 1,
    )


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
    flags.DEFINE_boolean("augment", True, "Random crops and flips of training images.")


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


def load_data() -> Dataset:
    """The data set that the flags choose."""
    return load_dataset(FLAGS.dataset, FLAGS.data_dir, FLAGS.seed)


def data_settings(dataset: Dataset) -> dict:
    """Settings of data from a file for ``config.json``, as the file may change under a run."""
    if not FLAGS.dataset.endswith(".npz"):
        return {}
    return {"data_digest": dataset.digest()}


def set_seeds() -> None:
    """Seeds and determinism, as the flags say."""
    keras.utils.set_random_seed(FLAGS.seed)
    if FLAGS.deterministic:
        tf.config.experimental.enable_op_determinism()


def split_feeds(dataset: Dataset, seed: int) -> tuple[Feed, Feed, Feed]:
    """Training, validation and test data in batches; ``seed`` is that of the training order.

    Raises:
      DataError: a batch larger than the data, or images too small to be cropped.
    """
    if FLAGS.augment:
        check_augmentation(dataset.train.images)
    splits = (dataset.train, dataset.valid, dataset.test)
    return tuple(SplitFeed(s, FLAGS.batch_size, seed, FLAGS.augment) for s in splits)


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
        "label_smoothing": FLAGS.label_smoothing,
    }


def loop(patience: int = 0) -> Loop:
    """The loop that the flags make."""
    names = "max_steps display val_interval checkpoint_interval on_nan bfloat16 jit_compile"
    return Loop(patience=patience, **{name: FLAGS[name].value for name in names.split()})


def make_run(config: dict) -> RunDirectory:
    """The run folder that the flags name, see ``RunDirectory``."""
    return RunDirectory(FLAGS.train_dir, config, FLAGS.restart, free=FREE_FLAGS, results=RESULTS)


def settings() -> dict:
    """Every flag of the program and its value: what ``config.json`` holds."""
    others = ("absl", "etils", "tensorflow", "keras", "pytest")
    return {
        flag.name: flag.value
        for module, entries in sorted(FLAGS.flags_by_module_dict().items())
        if not module.startswith(others)
        for flag in entries
    }
