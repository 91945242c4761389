"""The outer loop: steps, evaluations, checkpoints, and the reasons to stop."""

from __future__ import annotations

import dataclasses
import logging
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import keras

from splitnet_tf.errors import DataError, TrainingError
from splitnet_tf.recipe.schedules import Schedule
from splitnet_tf.runs.run_folder import RunDirectory
from splitnet_tf.training.checkpointing import Checkpoints
from splitnet_tf.training.evaluation import evaluator
from splitnet_tf.training.faults import fault_of_batch, fault_of_step, fault_of_update
from splitnet_tf.training.hooks import Hook, Hooks
from splitnet_tf.training.metrics_log import MetricsLog
from splitnet_tf.training.options import TrainOptions
from splitnet_tf.training.progress import Progress
from splitnet_tf.training.signals import StopSignals
from splitnet_tf.training.state import TrainState
from splitnet_tf.training.step import BaseTrainStep
from splitnet_tf.training.stopping import Patience

MAX_ROLLBACKS = 3


@dataclasses.dataclass(frozen=True)
class TrainResult:
    """End of a training.

    Attributes:
      step: steps done.
      stopped: ``max_steps``, ``patience``, or a hook's reason such as ``converged``.
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
      step: trains on a batch; its model is evaluated.
      options: length and intervals.
      run: the folder.
      train_batches: start step -> endless iterable of (x, y) or (x, y, sample_weight), whose first
        element belongs to that step.
      valid_batches: () -> iterable of the same, once through.
      learning_rate: function of the step.
      hooks: what else happens while it trains.
    """

    def __init__(
        self,
        step: BaseTrainStep,
        options: TrainOptions,
        run: RunDirectory,
        train_batches: Callable[[int], Iterable],
        valid_batches: Callable[[], Iterable],
        *,
        learning_rate: Schedule,
        hooks: Sequence[Hook] = (),
    ):
        self.options = options
        self.run = run
        self._step = step
        self._train_batches = train_batches
        self._valid_batches = valid_batches
        self._learning_rate = learning_rate
        self._hooks = Hooks(hooks)
        self._patience = Patience(options.patience)
        self._variables = step.variables
        self._checkpoints = Checkpoints(
            run.checkpoints, options.keep, self._variables, self._hooks, self._patience
        )
        self._evaluate = evaluator(step.model, step.loss, step.forward)
        self._state = TrainState()
        self._signals = StopSignals()

    def train(self) -> TrainResult:
        """Trains to the end, or from the newest checkpoint to the end.

        Raises:
          TrainingError: a loss or a gradient is not finite, for the fourth time with
            ``on_nan="rollback"``.
          DataError: the training batches come to an end, or one is not finite numbers.
          RunError: a log cannot be written.
          CheckpointError: a checkpoint cannot be read or written.
          SystemExit: after SIGTERM (143) or SIGINT (130), once a checkpoint is saved.
        """
        marks = self._restore()
        self._log = MetricsLog(self.run, marks, self._state.step)
        if marks is None:
            self._hooks.begin(self._log.writer)
        progress = Progress(self.options.max_steps, self._state.step)
        try:
            with self._signals:
                if not self._state.stopped:
                    self._loop(progress)
        finally:
            progress.close()
            self._log.close()
        state = self._state
        # The checkpoint has the weights that more steps would go on from, not their averages.
        valid = self._evaluate(self._valid_batches()).top1 if self._step.finish() else state.valid
        return TrainResult(
            state.step, state.stopped, valid, state.best, state.best_step, state.rollbacks
        )

    def _loop(self, progress: Progress) -> None:
        options, state = self.options, self._state
        batches = iter(self._train_batches(state.step))
        self._since = (time.perf_counter(), state.step)
        if options.on_nan == "rollback" and state.step == 0:
            self._save()
        while not state.stopped:
            self._hooks.before_step(state.step)
            batch = next(batches, None)
            if batch is None:
                raise DataError(
                    f"The training batches end before step {state.step + 1}; `train_batches` must "
                    "go on without end."
                )
            x, y, weight = keras.utils.unpack_x_y_sample_weight(batch)
            rate = self._learning_rate(state.step) * 0.5**state.rollbacks
            found = self._step(x, y, rate, weight)
            scalars = {name: float(value) for name, value in found.items()}
            fault = fault_of_step(scalars, self._hooks.loss_names)
            if not fault and self._leaves_something(state.step + 1):
                fault = fault_of_update(self._variables)
            if fault:
                of_batch = fault_of_batch(x, y, weight)
                if of_batch:  # no learning rate mends it
                    raise DataError(
                        f"Step {state.step + 1}: {of_batch}; take such examples out of `train`."
                    )
                self._roll_back(f"Step {state.step + 1}: {fault}")
                state = self._state
                batches = iter(self._train_batches(state.step))
                continue
            for name in state.sums:
                state.sums[name] += scalars[name]
            state.step = step = state.step + 1
            last = step >= options.max_steps
            if step % options.val_interval == 0 or last:
                self._validate(step)
                if last and not state.stopped:
                    state.stopped = "max_steps"
            if step % options.display == 0 or state.stopped:
                self._display(rate, len(keras.tree.flatten(y)[0]), progress)
            progress.update(step)
            if step % options.checkpoint_interval == 0 or state.stopped:
                self._save()
            if self._signals.number:
                path = self._save()
                logging.warning(
                    "%s: stopped after step %d, saved in %s; run the same command to go on, "
                    "without `restart=True`.",
                    self._signals.name,
                    step,
                    path,
                )
                raise SystemExit(128 + self._signals.number)

    def _leaves_something(self, step: int) -> bool:
        """True when a checkpoint or the end of training follows a step."""
        options = self.options
        intervals = (options.val_interval, options.checkpoint_interval)
        due = step >= options.max_steps or any(step % n == 0 for n in intervals)
        return due or bool(self._signals.number)

    def _roll_back(self, fault: str) -> None:
        """Back to the newest checkpoint with half the learning rate, or a TrainingError."""
        count = self._state.rollbacks + 1
        remedy = f"lower {' or '.join(['the `rate`', *self._hooks.lower])}"
        if self.run.kept:
            remedy += " and begin anew with `restart=True` or another `run` folder (checkpoints in "
            remedy += f"{self.run.checkpoints} are intact)"
        if self.options.on_nan == "stop":
            raise TrainingError(
                f"{fault}; {remedy}. `on_nan=rollback` would go back to the newest checkpoint."
            )
        if count > MAX_ROLLBACKS:
            raise TrainingError(f"{fault} after {MAX_ROLLBACKS} rollbacks; {remedy}.")
        self._log.close()
        marks = self._restore()
        step = self._state.step
        self._state.rollbacks = count
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

    def _display(self, rate: float, batch: int, progress: Progress) -> None:
        start, first = self._since
        step, now = self._state.step, time.perf_counter()
        means, l2 = self._state.take_means(), self._step.l2()
        values = {
            "train/loss": means["cross_entropy"] + means["model_losses"] + l2,
            "train/cross_entropy": means["cross_entropy"],
            f"train/{self._hooks.loss_group}": means["model_losses"],
            "train/l2": l2,
            "train/accuracy": means["accuracy"],
            "train/learning_rate": rate,
            "train/epoch": step / self.options.steps_per_epoch,
            **self._hooks.scalars(),
        }
        speed = batch * (step - first) / max(1e-9, now - start)
        self._log.write(step, values, {"images_per_second": speed})
        progress.show(
            step,
            loss=values["train/loss"],
            accuracy=values["train/accuracy"],
            images_per_second=speed,
            note=self._hooks.status(values),
        )
        self._since = (time.perf_counter(), step)

    def _validate(self, step: int) -> None:
        state = self._state
        start = time.perf_counter()
        found = self._evaluate(self._valid_batches())
        self._since = (self._since[0] + time.perf_counter() - start, self._since[1])
        self._log.write(
            step, {"valid/accuracy": found.top1, "valid/cross_entropy": found.cross_entropy}
        )
        self._hooks.summarize(step, self._log.writer)
        logging.info("step %d: validation accuracy %.2f%%", step, 100 * found.top1)
        state.valid = found.top1
        if found.top1 > state.best:
            state.best, state.best_step = found.top1, step
            self._save("best")
        with self._step.averaged():  # a hook judges the weights that training would end with
            state.stopped = self._hooks.stop(step)
        if state.stopped:
            logging.info("step %d: %s, training ends", step, state.stopped)
        elif self._patience(found.top1):
            logging.info("step %d: validation accuracy no longer improves", step)
            state.stopped = "patience"

    def _save(self, kind: str = "step") -> Path:
        return self._checkpoints.save(self._state, self._log.marks(), kind)

    def _restore(self) -> dict | None:
        """Restores the newest checkpoint; the marks of its logs, None where there is none."""
        found = self._checkpoints.restore()
        if found is None:
            return None
        self._state, marks = found
        if self._state.stopped == "max_steps" and self._state.step < self.options.max_steps:
            self._state.stopped = ""
        return marks

    def restore_best(self) -> bool:
        """Puts the weights with the best validation accuracy into the model; True if it did.

        Where their checkpoint is missing or damaged a warning says so and the last weights stay:
        those of an earlier checkpoint have another accuracy than is reported as the best.
        """
        return self._checkpoints.restore_best(self._state.best_step)
