"""The outer loop: steps, evaluations, checkpoints, and the reasons to stop."""

from __future__ import annotations

import dataclasses
import logging
import time
from collections.abc import Callable, Sequence

import keras
import tensorflow as tf

from splitnet_tf.errors import CheckpointError, TrainingError
from splitnet_tf.recipe.schedules import Schedule
from splitnet_tf.runs.checkpoints import (
    list_checkpoints,
    prune_checkpoints,
    restore_newest,
    save_checkpoint,
)
from splitnet_tf.runs.run_folder import RunDirectory
from splitnet_tf.training.evaluation import compiled_forward, evaluate
from splitnet_tf.training.faults import fault_of_step, fault_of_update
from splitnet_tf.training.metrics_log import MetricsLog
from splitnet_tf.training.options import TrainOptions
from splitnet_tf.training.progress import Progress
from splitnet_tf.training.signals import StopSignals
from splitnet_tf.training.step import BaseTrainStep, TrainStep
from splitnet_tf.training.stopping import Patience
from splitnet_tf.training.versions import versions

MAX_ROLLBACKS = 3
_START = {
    "step": 0,
    "displayed": 0,
    "best": -1.0,
    "best_step": 0,
    "valid": 0.0,
    "stopped": "",
    "rollbacks": 0,
}


@dataclasses.dataclass(frozen=True)
class TrainResult:
    """How training ended.

    Attributes:
      step: steps done.
      stopped: ``max_steps``, ``converged`` or ``patience``.
      valid_accuracy: at the end.
      best_accuracy, best_step: the best validation accuracy and when.
      rollbacks: how often it went back with half the learning rate.
    """

    step: int
    stopped: str
    valid_accuracy: float
    best_accuracy: float
    best_step: int
    rollbacks: int = 0


class Trainer:
    """Trains a model in a run folder; running it again goes on where it stopped.

    Args:
      model: returns logits; its ``losses`` are added to the cross entropy.
      options: of the loop.
      run: the folder.
      train_batches: start step to an endless data set whose first element belongs to that step.
      valid_batches: makes the validation data set.
      learning_rate: of each step.
      scale: factor on a variable's gradient.
      actions: called with the step before each step; must depend on nothing but the step and the
        model, so that a resumed run repeats them.
      probe: extra scalars to log at each evaluation, by name.
      converged: a stop condition, checked at each evaluation.
      patience: evaluations without a better accuracy before training stops; 0: never.
      steps_per_epoch: for the epoch in the log.
      summarize: writes summaries other than scalars at each evaluation.
      describe: writes what TensorBoard shows of the run as a whole, once, before the first step.
      status: of the values just logged, a few words for the line of progress.
      loss_names: of the model's losses, for the sentence when one of them is not finite.
      train_step: in place of ``TrainStep(model, options, scale)``.
    """

    def __init__(
        self,
        model: keras.Model,
        options: TrainOptions,
        run: RunDirectory,
        train_batches: Callable[[int], tf.data.Dataset],
        valid_batches: Callable[[], tf.data.Dataset],
        *,
        learning_rate: Schedule,
        scale: Callable[[keras.Variable], float] = lambda variable: 1.0,
        actions: Sequence[Callable[[int], None]] = (),
        probe: Callable[[], dict[str, float]] | None = None,
        summarize: Callable[[int, tf.summary.SummaryWriter], None] | None = None,
        describe: Callable[[tf.summary.SummaryWriter], None] | None = None,
        converged: Callable[[int], bool] | None = None,
        patience: int = 0,
        steps_per_epoch: int = 1,
        status: Callable[[dict[str, float]], str] | None = None,
        loss_names: Sequence[str] = (),
        train_step: BaseTrainStep | None = None,
    ):
        self.model = model
        self.options = options
        self.run = run
        self._train_batches = train_batches
        self._valid_batches = valid_batches
        self._learning_rate = learning_rate
        self._actions = actions
        self._probe = probe
        self._summarize = summarize
        self._describe = describe
        self._status = status
        self._loss_names = loss_names
        self._converged = converged
        self._patience = Patience(patience)
        self._steps_per_epoch = steps_per_epoch
        self._train_step = train_step or TrainStep(model, options, scale)
        self._forward = compiled_forward(model)
        self._variables = self._train_step.variables
        self._state = dict(_START)
        self._sums = {"cross_entropy": 0.0, "model_losses": 0.0, "accuracy": 0.0}
        self._signals = StopSignals()

    def train(self) -> TrainResult:
        """Trains to the end, or from the newest checkpoint to the end.

        Raises:
          TrainingError: a loss or a gradient is not finite, for the fourth time with
            ``on_nan="rollback"``.
          RunError: a log cannot be written.
          CheckpointError: a checkpoint cannot be read or written.
          SystemExit: after SIGTERM (143) or SIGINT (130), once a checkpoint is saved.
        """
        marks = self._restore()
        self._log = MetricsLog(self.run, marks, self._state["step"])
        if marks is None and self._describe is not None:
            self._describe(self._log.writer)
        progress = Progress(self.options.max_steps, self._state["step"])
        try:
            with self._signals:
                if not self._state["stopped"]:
                    self._loop(progress)
        finally:
            progress.close()
            self._log.close()
        state = self._state
        return TrainResult(
            state["step"],
            state["stopped"],
            state["valid"],
            state["best"],
            state["best_step"],
            state["rollbacks"],
        )

    def _loop(self, progress: Progress) -> None:
        options, state = self.options, self._state
        batches = iter(self._train_batches(state["step"]))
        self._since = (time.perf_counter(), state["step"])
        if options.on_nan == "rollback" and state["step"] == 0:
            self._save()
        while not state["stopped"]:
            step = state["step"]
            for action in self._actions:
                action(step)
            images, labels = next(batches)
            rate = self._learning_rate(step) * 0.5 ** state["rollbacks"]
            found = self._train_step(images, labels, rate)
            scalars = {name: float(value) for name, value in found.items()}
            fault = fault_of_step(scalars, self._loss_names)
            if not fault and self._leaves_something(step + 1):
                fault = fault_of_update(self._variables)
            if fault:
                self._roll_back(f"Step {step + 1}: {fault}")
                state = self._state
                batches = iter(self._train_batches(state["step"]))
                continue
            for name in self._sums:
                self._sums[name] += scalars[name]
            state["step"] = step = step + 1
            last = step >= options.max_steps
            if step % options.val_interval == 0 or last:
                self._evaluate(step)
                if last and not state["stopped"]:
                    state["stopped"] = "max_steps"
            if step % options.display == 0 or state["stopped"]:
                self._display(step, rate, len(labels), progress)
            progress.update(step)
            if step % options.checkpoint_interval == 0 or state["stopped"]:
                self._save()
            if self._signals.number:
                path = self._save()
                logging.warning(
                    "%s: stopped after step %d, saved in %s; run the same command to go on, "
                    "without --restart.",
                    self._signals.name,
                    step,
                    path,
                )
                raise SystemExit(128 + self._signals.number)

    def _leaves_something(self, step: int) -> bool:
        """Whether a checkpoint or the end of training follows a step."""
        options = self.options
        intervals = (options.val_interval, options.checkpoint_interval)
        due = step >= options.max_steps or any(step % n == 0 for n in intervals)
        return due or bool(self._signals.number)

    def _roll_back(self, fault: str) -> None:
        """Back to the newest checkpoint with half the learning rate, or a TrainingError."""
        count = self._state["rollbacks"] + 1
        remedy = "lower --initial_lr or the gammas and begin anew with --restart or another "
        remedy += f"--train_dir (checkpoints in {self.run.checkpoints} are intact)."
        if self.options.on_nan == "stop":
            raise TrainingError(
                f"{fault}; {remedy} --on_nan=rollback would go back to the newest of them."
            )
        if count > MAX_ROLLBACKS:
            raise TrainingError(f"{fault} after {MAX_ROLLBACKS} rollbacks; {remedy}")
        self._log.close()
        marks = self._restore()
        self._state["rollbacks"] = count
        step = self._state["step"]
        self._log = MetricsLog(self.run, marks, step)
        self._save()  # in place of the one without the count, which must outlast a kill
        logging.warning(
            "%s; back to step %d with half the learning rate (rollback %d of %d).",
            fault,
            step,
            count,
            MAX_ROLLBACKS,
        )
        self._since = (time.perf_counter(), step)

    def _display(self, step: int, rate: float, batch: int, progress: Progress) -> None:
        start, first = self._since
        now = time.perf_counter()
        count = step - self._state["displayed"]
        means = {name: total / max(1, count) for name, total in self._sums.items()}
        l2 = self._train_step.l2()
        values = {
            "train/loss": means["cross_entropy"] + means["model_losses"] + l2,
            "train/cross_entropy": means["cross_entropy"],
            "train/split_losses": means["model_losses"],
            "train/l2": l2,
            "train/accuracy": means["accuracy"],
            "train/learning_rate": rate,
            "train/epoch": step / self._steps_per_epoch,
        }
        if self._probe is not None:
            values.update(self._probe())
        speed = batch * (step - first) / max(1e-9, now - start)
        self._log.write(step, values, {"images_per_second": speed})
        progress.show(
            step,
            loss=values["train/loss"],
            accuracy=values["train/accuracy"],
            images_per_second=speed,
            note=self._status(values) if self._status else "",
        )
        self._since = (time.perf_counter(), step)
        self._state["displayed"] = step
        self._sums = dict.fromkeys(self._sums, 0.0)

    def _evaluate(self, step: int) -> None:
        state = self._state
        start = time.perf_counter()
        found = evaluate(self._forward, self._valid_batches())
        self._since = (self._since[0] + time.perf_counter() - start, self._since[1])
        self._log.write(
            step, {"valid/accuracy": found.top1, "valid/cross_entropy": found.cross_entropy}
        )
        if self._summarize is not None:
            self._summarize(step, self._log.writer)
        logging.info("step %d: validation accuracy %.2f%%", step, 100 * found.top1)
        state["valid"] = found.top1
        if found.top1 > state["best"]:
            state["best"], state["best_step"] = found.top1, step
            self._save("best")
        if self._converged is not None and self._converged(step):
            logging.info("step %d: the groupings have converged", step)
            state["stopped"] = "converged"
        elif self._patience(found.top1):
            logging.info("step %d: validation accuracy no longer improves", step)
            state["stopped"] = "patience"

    def _save(self, kind: str = "step"):
        state = {
            **self._state,
            "sums": self._sums,
            "logs": self._log.marks(),
            "versions": versions(),
            "patience": self._patience.state,
            "converged": self._converged.state if self._converged else None,
        }
        path = save_checkpoint(
            self.run.checkpoints, kind, self._state["step"], self._variables, state
        )
        prune_checkpoints(self.run.checkpoints, self.options.keep, path)
        return path

    def _restore(self) -> dict | None:
        """Restores the newest checkpoint; the marks of its logs, None where there is none."""
        state, path = restore_newest(self.run.checkpoints, "step", self._variables)
        if state is None:
            return None
        earlier = state.pop("versions", None)
        if earlier not in (None, versions()):
            logging.warning(
                "%s was written by %s, this is %s: the run goes on, but not bit for bit.",
                path,
                earlier,
                versions(),
            )
        self._sums, marks = state.pop("sums"), state.pop("logs")
        self._patience.state = state.pop("patience")
        converged = state.pop("converged")
        if self._converged is not None and converged is not None:
            self._converged.state = converged
        state = self._state = {**_START, **state}
        for later in list_checkpoints(self.run.checkpoints, "best", after=state["step"]):
            later.unlink()  # of what is about to be repeated
        if state["stopped"] == "max_steps" and state["step"] < self.options.max_steps:
            state["stopped"] = ""
        logging.info("resumed from %s at step %d", path, state["step"])
        return marks

    def restore_best(self) -> bool:
        """Puts the weights with the best validation accuracy into the model; whether it did.

        Where their checkpoint is missing or damaged a warning says so and the last weights stay:
        those of an earlier checkpoint have another accuracy than is reported as the best.
        """
        before = self._state["best_step"] - 1
        try:
            state, _ = restore_newest(self.run.checkpoints, "best", self._variables, before)
        except CheckpointError as error:
            logging.warning("%s The last weights are used, not the best.", error)
            return False
        if state is None:
            logging.warning(
                "%s holds no checkpoint of the best step; the last weights are used.",
                self.run.checkpoints,
            )
        return state is not None
