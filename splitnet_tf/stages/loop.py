"""One phase of training in a run folder: a recipe, a model and data, run by the custom loop."""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import tempfile
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import keras

from splitnet_tf.data.feeds import Feed
from splitnet_tf.errors import ArgumentError
from splitnet_tf.graph.copying import end_function
from splitnet_tf.graph.keras_reader import functional_model
from splitnet_tf.graph.state import without_settings
from splitnet_tf.grouping.recipe import GroupingRecipe
from splitnet_tf.parallel import DataParallelTrainStep, data_parallel_devices
from splitnet_tf.recipe.losses import HeadLosses, loss_for
from splitnet_tf.recipe.optimizers import AfterStep, optimizer_for
from splitnet_tf.recipe.phase import Phase
from splitnet_tf.recipe.preprocessing import Preprocessing
from splitnet_tf.recipe.schedules import Schedule, rate_of
from splitnet_tf.runs import RunDirectory, read_config
from splitnet_tf.runs.names import RESULTS
from splitnet_tf.sparsity.recipe import SparsityRecipe
from splitnet_tf.stages.preprocessing import recorded
from splitnet_tf.storage.digests import digest_arrays
from splitnet_tf.training import Trainer, TrainOptions, TrainResult, TrainStep
from splitnet_tf.training.hooks import Hook
from splitnet_tf.training.options import MAX_STEPS

# Settings that do not change how a run trains: a run may go on with others.
FREE = ("display", "method", "on_nan", "distribute")
OF_DATA = ("batch_size", "augment")  # that runs from Python have had since data have digests


@dataclasses.dataclass(frozen=True)
class Loop:
    """The loop around a phase: none of this changes what is learned, but for its length.

    Attributes:
      max_steps: int, length in steps in place of the phase's epochs; 0 for the epochs.
      display: int, steps between lines of progress.
      val_interval: int, steps between evaluations; 0 for an epoch.
      checkpoint_interval: int, steps between checkpoints; 0 for an epoch.
      patience: int, evaluations without a better accuracy after which training ends; 0 for never.
      on_nan: ``"stop"``, or ``"rollback"`` to the newest checkpoint with half the rate.
      bfloat16: bool, whether layers compute in bfloat16 while they train.
      jit_compile: bool, whether the step is compiled by XLA.
      distribute: names of devices that each take a share of every batch, or ``"mirrored"`` for
        all GPUs of this machine (all logical CPU devices without a GPU). Defaults to one device.
      sync_batch_norm: bool, whether batch norms then take the statistics of the whole batch.
    """

    max_steps: int = 0
    display: int = 100
    val_interval: int = 0
    checkpoint_interval: int = 0
    patience: int = 0
    on_nan: str = "stop"
    bfloat16: bool = False
    jit_compile: bool = False
    distribute: str | Sequence[str] = ()
    sync_batch_norm: bool = False


def classifier_loss(model: keras.Model, label_smoothing: float) -> keras.losses.Loss | HeadLosses:
    """The loss of a model that returns logits, see ``loss_for``.

    Raises:
      ArgumentError: the model ends in a softmax or sigmoid, which must be taken off first.
      PlanError: the model is subclassed or not built.
    """
    end = end_function(model) if len(functional_model(model).outputs) == 1 else None
    if end == "softmax":
        raise ArgumentError(
            f"Model '{model.name}' ends in a softmax, but logits are needed; take it off with "
            "splitnet_tf.logits_model(model)."
        )
    if end == "sigmoid":
        raise ArgumentError(
            f"Model '{model.name}' ends in a sigmoid, but logits are needed; take it off with "
            "splitnet_tf.logits_model(model, multi_label=True), and pass "
            "`loss=sn.BinaryCrossEntropy()` where an image has several labels."
        )
    return loss_for(model, label_smoothing)


def check_kind(name: str, value: Any, kind: type) -> None:
    """Raises ArgumentError unless an argument is of the kind that it must be."""
    if not isinstance(value, kind):
        raise ArgumentError(
            f"`{name}` must be a {kind.__name__}; got {type(value).__name__}: make it with "
            f"splitnet_tf.{kind.__name__}(...)."
        )


def total_steps(phase: Phase, loop: Loop, per_epoch: int) -> int:
    """Steps of a phase.

    Raises:
      ArgumentError: none, or too many.
    """
    steps = loop.max_steps or round(phase.epochs * per_epoch)
    if steps < 1:
        raise ArgumentError("`epochs` and `max_steps` give no training step; raise one of them.")
    if steps > MAX_STEPS:
        raise ArgumentError(
            f"`epochs={phase.epochs:g}` is more than {MAX_STEPS:,} steps; lower it."
        )
    return steps


def length_argument(loop: Loop) -> str:
    """The argument that says how long training is, as a sentence names it."""
    return "`max_steps`" if loop.max_steps else "`epochs`"


def train_options(phase: Phase, loop: Loop, per_epoch: int) -> TrainOptions:
    """The options of the loop with nothing left open.

    Raises:
      ArgumentError: one that is out of its range.
    """
    return TrainOptions(
        max_steps=total_steps(phase, loop, per_epoch),
        steps_per_epoch=per_epoch,
        display=loop.display,
        val_interval=loop.val_interval or per_epoch,
        checkpoint_interval=loop.checkpoint_interval or per_epoch,
        patience=loop.patience,
        on_nan=loop.on_nan,
    )


def rate_schedule(phase: Phase, loop: Loop, per_epoch: int, hold: int = 0) -> Schedule:
    """The learning rate of each step, see ``rate_of``."""
    return rate_of(phase, per_epoch, total_steps(phase, loop, per_epoch), hold)


def check_phase(phase: Phase, loop: Loop, per_epoch: int) -> None:
    """Raises ArgumentError for what is wrong with a phase, before anything is written."""
    train_options(phase, loop, per_epoch)
    rate_schedule(phase, loop, per_epoch)
    loop_devices(loop)


def loop_devices(loop: Loop) -> tuple[str, ...]:
    """The devices over which a loop divides its batches, see ``data_parallel_devices``.

    Raises:
      ArgumentError: a single device, or XLA across devices.
    """
    devices = data_parallel_devices(loop.distribute)
    if devices and loop.jit_compile:
        raise ArgumentError(
            "`jit_compile` does not work across the devices of `distribute`; leave one of them out."
        )
    return devices


@contextlib.contextmanager
def run_folder(
    run: RunDirectory | str | Path | None, config: Mapping[str, Any], restart: bool = False
) -> Iterator[RunDirectory]:
    """The folder of a run: the one given, one made of a path, or one for the time being.

    Args:
      run: a path is made with ``config``; None stands for a folder that is removed at the end.
      config: settings that re-create the run; numbers, texts and lists of them.
      restart: whether to remove what an earlier run left at the path.

    Raises:
      RunError: the folder is in use, cannot be written, or is that of other settings.
    """
    if isinstance(run, RunDirectory):
        yield run
        return
    with contextlib.ExitStack() as stack:
        path = run or stack.enter_context(tempfile.TemporaryDirectory(prefix="splitnet-"))
        folder = RunDirectory(
            path,
            dict(config),
            restart,
            free=FREE,
            today=lambda earlier: {**_absent(earlier, config), **earlier},
            results=RESULTS,
            kept=run is not None,
        )
        stack.callback(folder.close)
        yield folder


def _absent(earlier: Mapping[str, Any], config: Mapping[str, Any]) -> dict[str, Any]:
    """Settings that an earlier version did not have: they had no effect, as by default."""
    kinds = (Phase, GroupingRecipe, SparsityRecipe, Loop)
    defaults = {f.name: f.default for kind in kinds for f in dataclasses.fields(kind)}
    return {
        name: value
        for name, value in config.items()
        if name not in earlier and (name in OF_DATA or name in defaults and value == defaults[name])
    }


def phase_settings(
    run: RunDirectory | str | Path | None,
    phase: Phase,
    loop: Loop,
    model: keras.Model,
    train: Feed,
    loss: keras.losses.Loss,
    *,
    seed: int,
    class_weight: Mapping[int, float] | None = None,
    preprocessing: Preprocessing | str | None = None,
    noise: Collection[int] = (),
    **more,
) -> dict[str, Any]:
    """Settings for the ``config.json`` of a run from Python.

    Args:
      run: a folder that is there already has its settings, which are returned.
      train: the training data, which a run does not go on without.
      class_weight: weight of each class, by its number.
      noise: ``id`` of weights that need not be the same when a run goes on.
      **more: other settings by name.

    Raises:
      ArgumentError: see ``loop_devices``.
    """
    loop_devices(loop)  # before anything is written
    if isinstance(run, RunDirectory):
        return read_config(run.path)
    settings = {"model": model.name, **dataclasses.asdict(phase), **dataclasses.asdict(loop)}
    settings |= {"seed": seed, "steps_per_epoch": train.steps_per_epoch}
    settings |= {"loss": type(loss).__name__, **recorded(preprocessing), **more}
    if class_weight:
        settings["class_weight"] = [f"{k}: {w:g}" for k, w in sorted(class_weight.items())]
    if run is not None:  # nothing goes on from a folder that is removed
        weights = [w for w in without_settings(model.weights) if id(w) not in noise]
        weights = digest_arrays([keras.ops.convert_to_numpy(w) for w in weights])
        settings |= {"starting_weights": weights, **train.settings()}
    return settings


def training_values(found: TrainResult, train: Feed) -> dict[str, Any]:
    """Values of a ``runs.Result`` from the end of a training."""
    return {
        "steps": found.step,
        "epochs": found.step / train.steps_per_epoch,
        "stopped": found.stopped,
        "rollbacks": found.rollbacks,
        "valid_accuracy": found.valid_accuracy,
    }


def train_phase(
    model: keras.Model,
    phase: Phase,
    loop: Loop,
    train: Feed,
    valid: Feed,
    run: RunDirectory,
    *,
    loss: keras.losses.Loss,
    hold: int = 0,
    paces: Mapping[int, float] | None = None,
    after_step: AfterStep | None = None,
    hooks: Sequence[Hook] = (),
    step=None,
) -> tuple[TrainResult, Trainer]:
    """Trains a model through a phase, or goes on with it.

    Args:
      model: a model, or a placed tree.
      phase, loop: how, and how long.
      train, valid: data; see ``feed_of``.
      run: folder of checkpoints and logs.
      loss: of the model's outputs; ``model.losses`` and L2 are added to it.
      hold: int, step until which a cosine keeps its first rate; averaged weights begin there.
      paces: factor on the learning rate of variables, by ``id``.
      after_step: step after the optimizer's, see ``recipe.SGD``.
      hooks: what else happens while training.
      step: training step in place of that of the model and the phase.
    """
    per_epoch = train.steps_per_epoch
    if step is None:
        step = make_step(model, phase, loop, loss, paces, after_step, hold)
    trainer = Trainer(
        step,
        train_options(phase, loop, per_epoch),
        run,
        train.training,
        valid.evaluation,
        learning_rate=rate_schedule(phase, loop, per_epoch, hold),
        hooks=hooks,
    )
    return trainer.train(), trainer


def make_step(
    model: keras.Model,
    phase: Phase,
    loop: Loop,
    loss: keras.losses.Loss,
    paces: Mapping[int, float] | None,
    after_step: AfterStep | None,
    average_from: int = 0,
) -> TrainStep:
    """The training step of a phase, on one device or on those that the batch is divided over."""
    optimizer = optimizer_for(phase, paces or {}, after_step, average_from=average_from)
    how = {"l2": phase.l2, "bfloat16": loop.bfloat16}
    devices = loop_devices(loop)
    if not devices:
        return TrainStep(model, loss, optimizer, jit_compile=loop.jit_compile, **how)
    logging.info("Each batch is divided over %s.", ", ".join(devices))
    more = {"sync_batch_norm": loop.sync_batch_norm}
    return DataParallelTrainStep(model, loss, optimizer, devices, **how, **more)
