"""Flags that grouping and finetuning share, and the options made of them."""

from __future__ import annotations

from absl import flags

from splitnet_tf.cli.define import (
    MAX_EPOCHS,
    Number,
    define_float,
    define_integer,
    define_list,
    define_text,
)
from splitnet_tf.data import Dataset, check_augmentation, load_dataset, steps_per_epoch
from splitnet_tf.recipe import SGD, CrossEntropy, cosine, step_decay
from splitnet_tf.recipe.schedules import Schedule
from splitnet_tf.training import TrainOptions, TrainStep
from splitnet_tf.training.options import MAX_STEPS, ON_NAN

FLAGS = flags.FLAGS
flags.disclaim_key_flags()

# Settings that do not change how a run trains, and devices: a run may go on elsewhere.
FREE_SETTINGS = (
    "data_dir",
    "train_dir",
    "basemodel",  # what is in it has a digest among the settings
    "restart",
    "method",
    "on_nan",
    "group_summary_interval",
    "devices",
    "trunk",
    "cluster",
    "on_worker_loss",
    "worker_timeout",
    "worker_wait",
)


def define_data_flags() -> None:
    """Flags that choose the data."""
    define_text(
        "dataset", "cifar100", "cifar100, planted, planted-2-2 (two levels), or <file>.npz."
    )
    define_text("data_dir", None, "Folder of the data set; default ~/tensorflow_datasets.")
    define_integer("batch_size", 90, "Images in a batch.", 1, 1_000_000)
    define_integer("seed", 0, "Of weights, order, augmentation, planted data.", 0, 2**31 - 1)


def define_training_flags(epochs: int, initial_lr: float, final_lr: float) -> None:
    """Flags of the loop, with defaults for one phase."""
    define_text("train_dir", None, "Run folder; run again to resume.", required=True)
    flags.DEFINE_boolean("restart", False, "Begin anew, removing what the run folder holds.")
    define_float("epochs", epochs, "Length of training.", 0, MAX_EPOCHS)
    define_integer("max_steps", 0, "Length of training in steps; 0: --epochs.", 0, MAX_STEPS)
    define_float("initial_lr", initial_lr, "Learning rate at the start.", 0, 1000)
    flags.DEFINE_enum("lr_schedule", "cosine", ["cosine", "step"], "How the rate falls.")
    define_float(
        "final_lr",
        final_lr,
        "Rate at the end of the cosine schedule, --initial_lr at most.",
        0,
        1000,
    )
    define_list(
        "lr_step_epoch",
        ["80", "120", "160"],
        "Epochs at which the step schedule decays.",
        Number(float, 0, MAX_EPOCHS),
    )
    define_float("lr_decay", 0.1, "Factor on the rate at each of --lr_step_epoch.", 0, 1)
    define_float(
        "lr_warmup_epochs", 0.0, "Epochs over which the rate rises at first.", 0, MAX_EPOCHS
    )
    define_float("momentum", 0.9, "Momentum of SGD.", 0, 0.9999)
    flags.DEFINE_boolean("nesterov", True, "Nesterov's momentum.")
    define_float("l2_weight", 5e-4, "Weight of L2 on kernels.", 0, 0.99)
    define_float("label_smoothing", 0.0, "Of the cross entropy.", 0, 0.99)
    flags.DEFINE_boolean("augment", True, "Random crops and flips.")
    define_integer("display", 100, "Steps between lines of progress.", 1, MAX_STEPS)
    define_integer("val_interval", 0, "Steps between evaluations; 0: an epoch.", 0, MAX_STEPS)
    define_integer(
        "checkpoint_interval", 0, "Steps between checkpoints; 0: an epoch.", 0, MAX_STEPS
    )
    flags.DEFINE_enum(
        "on_nan",
        "stop",
        list(ON_NAN),
        "When a loss or a gradient is not finite: stop, or go back to the newest checkpoint with "
        "half the learning rate, three times at most.",
    )
    flags.DEFINE_boolean(
        "bfloat16",
        False,
        "Layers compute in bfloat16 while they train: faster on GPUs, and on processors that have "
        "it. Weights, split losses, cross entropy, L2 and what is saved stay in float32.",
    )
    flags.DEFINE_boolean("jit_compile", False, "Compile the training step with XLA.")
    flags.DEFINE_boolean(
        "deterministic", False, "Deterministic operations: bit for bit the same run again."
    )


def load_data() -> Dataset:
    """The data set that the flags choose."""
    return load_dataset(FLAGS.dataset, FLAGS.data_dir, FLAGS.seed)


def data_settings(dataset: Dataset) -> dict:
    """What ``config.json`` says of data from a file, which may change under a run."""
    if not FLAGS.dataset.endswith(".npz"):
        return {}
    return {"data_digest": dataset.digest()}


def epoch_steps(dataset: Dataset) -> int:
    """Steps in an epoch."""
    return steps_per_epoch(dataset.train, FLAGS.batch_size)


def total_steps(dataset: Dataset) -> int:
    """Steps of the run."""
    steps = FLAGS.max_steps or round(FLAGS.epochs * epoch_steps(dataset))
    if steps < 1:
        raise flags.Error("--epochs and --max_steps give no training step; raise one of them.")
    if steps > MAX_STEPS:
        raise flags.Error(f"--epochs={FLAGS.epochs:g} is more than {MAX_STEPS:,} steps; lower it.")
    return steps


def train_options(dataset: Dataset) -> TrainOptions:
    """The options that the flags make."""
    per_epoch = epoch_steps(dataset)
    return TrainOptions(
        max_steps=total_steps(dataset),
        steps_per_epoch=per_epoch,
        display=FLAGS.display,
        val_interval=FLAGS.val_interval or per_epoch,
        checkpoint_interval=FLAGS.checkpoint_interval or per_epoch,
        on_nan=FLAGS.on_nan,
        patience=FLAGS.patience if "patience" in FLAGS else 0,
    )


def make_optimizer(paces=()):
    """The optimizer that the flags make; ``paces`` as ``SGD`` takes them."""
    nesterov = FLAGS.nesterov and FLAGS.momentum > 0
    return SGD(0.0, momentum=float(FLAGS.momentum), nesterov=nesterov, paces=paces)


def train_step(model, paces=()) -> TrainStep:
    """The training step that the flags make."""
    return TrainStep(
        model,
        CrossEntropy(FLAGS.label_smoothing),
        make_optimizer(paces),
        l2=FLAGS.l2_weight,
        bfloat16=FLAGS.bfloat16,
        jit_compile=FLAGS.jit_compile,
    )


def learning_rate(dataset: Dataset, hold: int = 0) -> Schedule:
    """The schedule that the flags make; the cosine starts to fall at step ``hold``."""
    per_epoch = epoch_steps(dataset)
    warmup = round(FLAGS.lr_warmup_epochs * per_epoch)
    if warmup >= total_steps(dataset) > 1:
        raise flags.Error(
            f"--lr_warmup_epochs={FLAGS.lr_warmup_epochs:g} is all of the training, "
            f"{total_steps(dataset)} steps; lower it or raise {length_flag()}."
        )
    if FLAGS.lr_schedule == "cosine":
        final = FLAGS.final_lr
        if final > FLAGS.initial_lr and FLAGS["final_lr"].present:
            raise flags.Error(
                f"--final_lr={final:g} is above --initial_lr={FLAGS.initial_lr:g}; the rate falls."
            )
        final = min(final, FLAGS.initial_lr)
        return cosine(FLAGS.initial_lr, total_steps(dataset), warmup, hold, final)
    boundaries = [round(float(e) * per_epoch) for e in FLAGS.lr_step_epoch]
    return step_decay(FLAGS.initial_lr, boundaries, FLAGS.lr_decay, warmup)


def length_flag() -> str:
    """The flag that says how long training is."""
    return "--max_steps" if FLAGS.max_steps else "--epochs"


def check_training_flags(dataset: Dataset) -> None:
    """Raises what is wrong with the flags, before a run folder is made by them."""
    train_options(dataset)
    learning_rate(dataset)
    if FLAGS.augment:
        check_augmentation(dataset.train.images)


def settings() -> dict:
    """Every flag of the program and its value: what ``config.json`` holds."""
    others = ("absl", "etils", "tensorflow", "keras", "pytest")
    return {
        flag.name: flag.value
        for module, entries in sorted(FLAGS.flags_by_module_dict().items())
        if not module.startswith(others)
        for flag in entries
    }
