"""The hook of sparse training: what SSL does at each step and evaluation while it trains."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence

import keras

from splitnet_tf.sparsity import (
    SparsityPlan,
    SparsityRecipe,
    Term,
    bytes_crossing,
    needed_factor,
    predict_changes,
    strength_at,
    weights_by_path,
    zero_counts,
)
from splitnet_tf.stages.sparsity_pictures import SparsityPictures
from splitnet_tf.training.hooks import Hook

# Target to what it is a share of, as the log calls it, and in words.
TARGET_OF = {
    "target_flops": ("multiply_adds", "multiply-adds"),
    "target_params": ("weights", "weights of kernels"),
    "target_bytes": ("bytes_crossing", "bytes between devices"),
}
FAR_BELOW = 0.5  # share of a target below which a run says that it went past it


class SparsityHook(Hook):
    """Warm-up and ramp of the strength, its growth towards a target; log, pictures and status.

    Args:
      model: from ``sparse_model``.
      recipe: the plan and how its strength changes.
      terms: of the plan in this model.
      strength: variable of the step after the step; None where it has none.
      rate: learning rate of each step.
      warmup, ramp: int, steps before the penalty sets in, and over which it then grows.
      total: int, steps of the phase.
    """

    loss_names = ("penalty",)
    loss_group = "penalty"
    lower = "the strengths"

    def __init__(
        self,
        model: keras.Model,
        recipe: SparsityRecipe,
        terms: Sequence[Term],
        strength: keras.Variable | None,
        rate: Callable[[int], float],
        warmup: int,
        ramp: int,
        total: int,
    ):
        self._model, self._recipe, self._terms = model, recipe, terms
        self._variable, self._rate = strength, rate
        self._warmup, self._ramp, self._total = warmup, ramp, total
        self._weights = weights_by_path(model.trainable_variables)
        self._pictures = SparsityPictures(model, terms)
        self._strength = 0.0
        self._left: dict[str, float] = {}
        self._factor, self._rates = 1.0, 0.0
        self._raise = False  # at the next step, if there is one

    @property
    def state(self) -> dict:
        found = {"factor": self._factor, "rates": self._rates, "left": dict(self._left)}
        return {**found, "raise": self._raise}

    @state.setter
    def state(self, value: dict) -> None:
        self._factor, self._rates = value["factor"], value["rates"]
        self._left, self._raise = dict(value["left"]), value.get("raise", False)

    @property
    def factor(self) -> float:
        """Factor on all strengths to which a target has raised them."""
        return self._factor

    def needed_factor(self) -> float | None:
        """Factor on all strengths with which one more group would be zero, at least."""
        return needed_factor(self._terms, self._weights, self._rates)

    def missed(self) -> dict[str, float]:
        """The targets that the zeros of the last evaluation do not meet, by name."""
        return {n: v for n, v in self._recipe.targets.items() if not self._left.get(n, 1.0) <= v}

    def passed(self) -> dict[str, float]:
        """The targets of which a good part is missing as well, by name."""
        targets = self._recipe.targets.items()
        return {n: v for n, v in targets if self._left.get(n, 1.0) < FAR_BELOW * v}

    def before_step(self, step: int) -> None:
        if self._raise:
            self._factor, self._raise = self._factor * self._recipe.growth, False
        self._strength = self._factor * strength_at(step, self._warmup, self._ramp)
        self._rates += self._rate(step) * self._strength
        if self._variable is not None:
            self._variable.assign(self._strength)

    def scalars(self) -> dict[str, float]:
        counts = zero_counts(self._terms, self._weights)
        return {
            "sparsity/strength": self._strength,
            **{f"sparsity/{TARGET_OF[name][0]}": share for name, share in self._left.items()},
            **{f"zero_groups/{c.structure}/{c.name}": c.zero for c in counts},
            **{f"zero_share/{c.structure}/{c.name}": c.zero / c.count for c in counts},
        }

    def status(self, values: Mapping[str, float]) -> str:
        zero = sum(v for name, v in values.items() if name.startswith("zero_groups/"))
        text = f"{zero} of {sum(t.groups.count for t in self._terms)} groups zero"
        share = values.get("sparsity/multiply_adds")
        if share is not None:
            text += f", {100 * share:.1f}% of the multiply-adds left"
        return text

    def summarize(self, step: int, writer) -> None:
        self._left = shares_left(self._model, self._recipe)
        self._pictures.write(step, writer)

    def stop(self, step: int) -> str:
        if self._recipe.targets and self._warmup + self._ramp <= step < self._total:
            missed = self.missed()
            if missed:
                self._raise = True
                logging.info(
                    "step %d: %s; the strength is raised to %.3g times its value",
                    step,
                    " and ".join(self.describe(name) for name in missed),
                    self._factor * self._recipe.growth,
                )
        return ""

    def describe(self, target: str) -> str:
        """Words on how far a target is."""
        left = self._left.get(target, 1.0)
        wanted = self._recipe.targets[target]
        return f"{100 * left:.1f}% of the {TARGET_OF[target][1]} left (`{target}={wanted:g}`)"


def shares_left(model: keras.Model, plan: SparsityPlan) -> dict[str, float]:
    """Share that the zeros of a model leave, by the name of its target; no unknown ones."""
    changes, devices = predict_changes(model), plan.devices(model)
    sums = {"target_flops": changes.totals("multiply_adds")}
    sums["target_params"] = changes.totals("weights")
    sums["target_bytes"] = None if devices is None else bytes_crossing(model, devices)
    known = {target: found for target, found in sums.items() if found and found[0]}
    return {target: after / before for target, (before, after) in known.items()}
