"""Learning rates and other values as functions of the step alone.

Each function serves both engines. A Python number, as the training loop has it, gives a float in
double precision; a tensor, as ``fit`` has it inside a compiled step, gives a float32 scalar.
"""

from __future__ import annotations

import dataclasses
import math
import numbers
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import keras
from keras import ops

from splitnet_tf.errors import ArgumentError
from splitnet_tf.recipe.phase import Phase

Schedule = Callable[[Any], Any]


class _Numbers:
    """The part of ``keras.ops`` that is needed here, on Python numbers."""

    cos = staticmethod(math.cos)
    minimum = staticmethod(min)
    cast = staticmethod(lambda value, dtype: float(value))
    where = staticmethod(lambda condition, one, other: one if condition else other)


def _ops(step):
    return _Numbers if isinstance(step, numbers.Real) else ops


def step_decay(
    initial: float, boundaries: Sequence[int], decay: float, warmup: int = 0
) -> Schedule:
    """``initial`` times ``decay`` for every boundary passed, after a linear warm-up.

    Args:
      initial: float, learning rate after the warm-up.
      boundaries: steps from which the rate is decayed once more.
      decay: float, factor at each boundary.
      warmup: int, steps over which the rate rises to ``initial``. Defaults to 0.
    """

    def rate(step):
        passed = sum(_ops(step).cast(step >= boundary, "float32") for boundary in boundaries)
        return _warm(step, warmup) * initial * decay**passed

    return rate


def cosine(
    initial: float, total: int, warmup: int = 0, hold: int = 0, final: float = 0.0
) -> Schedule:
    """``initial`` until step ``hold``, then half a cosine down to ``final`` at step ``total``.

    Args:
      initial: float, learning rate after the warm-up.
      total: int, step from which the rate is ``final``.
      warmup: int, steps over which the rate rises to ``initial``. Defaults to 0.
      hold: int, step at which the rate starts to fall. Defaults to 0.
      final: float, learning rate at the end. Defaults to 0.0.
    """
    start = max(hold, warmup)

    def rate(step):
        share = _ops(step).minimum(1.0, (step - start) / max(1, total - start))
        falling = final + (initial - final) * 0.5 * (1.0 + _ops(step).cos(math.pi * share))
        return _ops(step).where(step < start, _warm(step, warmup) * initial, falling)

    return rate


def _warm(step, warmup: int):
    return _ops(step).minimum(1.0, (step + 1) / warmup) if warmup else 1.0


def ramp(start: float, end: float, low: float, high: float) -> Callable[[float], float]:
    """``low`` until step ``start``, then in equal ratios up to ``high`` at step ``end``.

    Steps are numbers, not tensors, and need not be whole.
    """

    def value(step: float) -> float:
        if step <= start or low == high:
            return low
        share = min(1.0, (step - start) / (end - start)) if end > start else 1.0
        return low * (high / low) ** share if low > 0 else high * share

    return value


def rate_of(phase: Phase, steps_per_epoch: int, total_steps: int, hold: int = 0) -> Schedule:
    """The learning rate of a phase at each of its steps.

    Args:
      phase: ``rate``, ``schedule`` and what belongs to it.
      steps_per_epoch: int, steps in an epoch.
      total_steps: int, steps of the phase, at the end of which a cosine has arrived.
      hold: int, step at which a cosine starts to fall. Defaults to 0.

    Raises:
      ArgumentError: the rate rises for the whole phase.
    """
    warmup = round(phase.rate_warmup_epochs * steps_per_epoch)
    if warmup >= total_steps > 1:
        raise ArgumentError(
            f"`rate_warmup_epochs={phase.rate_warmup_epochs:g}` is all of the training, "
            f"{total_steps} steps; lower it or raise `epochs`."
        )
    if phase.schedule == "cosine":
        return cosine(phase.rate, total_steps, warmup, hold, phase.final_rate)
    boundaries = [round(epoch * steps_per_epoch) for epoch in phase.drops]
    return step_decay(phase.rate, boundaries, phase.decay, warmup)


@keras.saving.register_keras_serializable(package="splitnet_tf")
class Rate(keras.optimizers.schedules.LearningRateSchedule):
    """``rate_of`` a phase for Keras' optimizers.

    Args:
      phase: a ``Phase``, or a mapping of its fields.
      steps_per_epoch, total_steps, hold: see ``rate_of``.
    """

    def __init__(
        self,
        phase: Phase | Mapping[str, Any],
        steps_per_epoch: int,
        total_steps: int,
        hold: int = 0,
    ):
        if isinstance(phase, Mapping):
            phase = Phase(**{**phase, "drops": tuple(phase["drops"])})
        self.phase = phase
        self.steps_per_epoch = steps_per_epoch
        self.total_steps = total_steps
        self.hold = hold
        self._rate = rate_of(phase, steps_per_epoch, total_steps, hold)

    def __call__(self, step):
        return self._rate(ops.cast(step, "float32"))

    def get_config(self):
        fields = dataclasses.fields(Phase)  # what a subclass adds says nothing about the rate
        return {
            "phase": {f.name: getattr(self.phase, f.name) for f in fields},
            "steps_per_epoch": self.steps_per_epoch,
            "total_steps": self.total_steps,
            "hold": self.hold,
        }
