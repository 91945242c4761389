"""Hooks: what a method does while the loop trains."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

import tensorflow as tf


class Hook:
    """Base of what takes part in a training; every method here does nothing.

    What a hook changes must depend on nothing but the step, the model and its ``state``, so that a
    resumed run repeats it.

    Attributes:
      loss_names: names of the model's losses, in order, for the sentence when one is not finite.
      loss_group: name of the sum of the model's losses in the log; empty for the loop's own.
      lower: words for what to lower, besides the rate, when training diverges; empty for nothing.
      state: JSON-able, saved in checkpoints and set when a run is resumed; empty for none.
    """

    loss_names: Sequence[str] = ()
    loss_group: str = ""
    lower: str = ""
    state: Mapping[str, Any] = MappingProxyType({})

    def begin(self, writer: tf.summary.SummaryWriter) -> None:
        """Writes what TensorBoard shows of the run as a whole; once, before the first step."""

    def before_step(self, step: int) -> None:
        """Prepares the model for a step; ``step`` steps are done."""

    def scalars(self) -> dict[str, float]:
        """Values to log beside the loop's own, by name, at each display."""
        return {}

    def status(self, values: Mapping[str, float]) -> str:
        """A few words for the line of progress on the values just logged."""
        return ""

    def summarize(self, step: int, writer: tf.summary.SummaryWriter) -> None:
        """Writes summaries other than scalars, at each evaluation."""

    def stop(self, step: int) -> str:
        """The reason to stop, such as ``"converged"``, or nothing; asked at each evaluation."""
        return ""


class Hooks:
    """Several hooks as one.

    Args:
      hooks: asked in this order.
    """

    def __init__(self, hooks: Sequence[Hook] = ()):
        self._hooks = tuple(hooks)
        kinds = [type(hook).__name__ for hook in self._hooks]
        self._keys = [f"{kind}/{kinds[:i].count(kind)}" for i, kind in enumerate(kinds)]
        self.loss_names = [name for hook in self._hooks for name in hook.loss_names]
        groups = [hook.loss_group for hook in self._hooks if hook.loss_group]
        self.loss_group = (groups or ["model_losses"])[0]
        self.lower = [hook.lower for hook in self._hooks if hook.lower]

    def begin(self, writer) -> None:
        for hook in self._hooks:
            hook.begin(writer)

    def before_step(self, step: int) -> None:
        for hook in self._hooks:
            hook.before_step(step)

    def scalars(self) -> dict[str, float]:
        return {k: v for hook in self._hooks for k, v in hook.scalars().items()}

    def status(self, values: Mapping[str, float]) -> str:
        return ", ".join(filter(None, (hook.status(values) for hook in self._hooks)))

    def summarize(self, step: int, writer) -> None:
        for hook in self._hooks:
            hook.summarize(step, writer)

    def stop(self, step: int) -> str:
        """The first reason; every hook is asked, as each may count."""
        return next(filter(None, [hook.stop(step) for hook in self._hooks]), "")

    @property
    def state(self) -> dict[str, Mapping[str, Any]]:
        """State of each hook that has one, by its class and number."""
        pairs = zip(self._keys, self._hooks, strict=True)
        return {key: hook.state for key, hook in pairs if hook.state}

    def restore(self, states: Mapping[str, Any], unnamed: Mapping[str, Any] | None) -> None:
        """Gives hooks their states.

        Args:
          states: as ``state``; a hook that is not in it keeps its own.
          unnamed: a state of a checkpoint from before there were hooks; it goes to the first hook
            whose state has the same keys.
        """
        for key, hook in zip(self._keys, self._hooks, strict=True):
            if key in states:
                hook.state = states[key]
            elif unnamed is not None and hook.state.keys() == unnamed.keys():
                hook.state, unnamed = unnamed, None
