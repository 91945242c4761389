"""Steps after an optimizer's step: the proximal step, the threshold, zeros that stay zero.

Each is an ``after_step`` of the optimizers in ``recipe``, which run it inside the compiled
training step: in this package's loop and in ``fit``, on any backend. Weights are found by their
paths, so that a saved optimizer works on the model it is loaded with.
"""

from __future__ import annotations

import abc
from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from splitnet_tf.errors import ArgumentError
from splitnet_tf.graph.kernels import is_kernel
from splitnet_tf.sparsity.group_lasso import (
    group_norms,
    proximal_step,
    scaled,
    weights_by_path,
)
from splitnet_tf.sparsity.plan import SparsityPlan, Term
from splitnet_tf.sparsity.structures import Groups, Part, structure_groups

SINGLE = "weights"  # stands for a structure whose groups are the single weights of kernels
# What finetuning holds at zero. Zeros of other structures are zeros of single weights.
HELD = ("filters", "channels", "shapes", "filters2d", "spaces", SINGLE)


class _GroupsStep(abc.ABC):
    """Base: terms, their weights among the optimizer's variables, saving."""

    def __init__(self, terms: Sequence[Term]):
        self.terms = tuple(terms)

    def __call__(self, variables: list[keras.Variable], rate: Any) -> None:
        """Changes the variables in place.

        Args:
          variables: trainable variables of the optimizer.
          rate: scalar, learning rate of the step.
        """
        found, paths = weights_by_path(variables), self._paths()
        for path in paths:
            if path not in found:
                raise ArgumentError(
                    f"`after_step`: the optimizer trains no weights '{path}'; make the step for "
                    "the model that is trained."
                )
        values = {path: ops.convert_to_tensor(found[path]) for path in paths}
        for path, value in self.changed(values, rate).items():
            found[path].assign(value)

    def _paths(self) -> dict[str, None]:
        """Paths of the weights that are looked at."""
        return dict.fromkeys(p.path for term in self.terms for p in term.groups.parts)

    @abc.abstractmethod
    def changed(self, values: dict[str, Any], rate: Any) -> dict[str, Any]:
        """New weights by path."""

    def get_config(self) -> dict[str, Any]:
        return {"terms": [_term_config(term) for term in self.terms]}

    @classmethod
    def from_config(cls, config: dict[str, Any]):
        return cls(**{**config, "terms": [_term(c) for c in config["terms"]]})


@keras.saving.register_keras_serializable(package="splitnet_tf")
class ProximalStep(_GroupsStep):
    """Shrinks the norm of each group by learning rate times strength, down to exactly zero.

    Terms are taken one after the other. Where their groups overlap, this is not the step of the
    summed penalty, but each zero is a zero of one of them.

    Args:
      terms: ``Term`` of a plan, see ``step_of``.

    Attributes:
      strength: keras.Variable, float32 scalar, factor on all strengths; 1 at first. A warm-up or a
        ramp assigns to it. It is among the optimizer's variables, so that checkpoints hold it.
    """

    def __init__(self, terms: Sequence[Term]):
        super().__init__(terms)
        self.strength = keras.Variable(1.0, trainable=False, dtype="float32", name="strength")

    @property
    def variables(self) -> list[keras.Variable]:
        """Variables that an optimizer keeps with its own."""
        return [self.strength]

    def changed(self, values, rate):
        amount = ops.cast(rate, "float32") * ops.convert_to_tensor(self.strength)
        changed = {}
        for term in self.terms:
            changed |= proximal_step(term.groups, {**values, **changed}, amount * term.strengths)
        return changed


@keras.saving.register_keras_serializable(package="splitnet_tf")
class ThresholdStep(_GroupsStep):
    """Sets single weights to zero that are nearly zero, as the authors of SSL did.

    Args:
      terms: ``Term`` of a plan; the weights in their groups are looked at.
      threshold: float, weights of smaller size become zero. Defaults to 1e-4.
    """

    def __init__(self, terms: Sequence[Term], threshold: float = 1e-4):
        super().__init__(terms)
        self.threshold = threshold

    def changed(self, values, rate):
        return {p: ops.where(ops.abs(v) < self.threshold, 0.0, v) for p, v in values.items()}

    def get_config(self):
        return {**super().get_config(), "threshold": self.threshold}


@keras.saving.register_keras_serializable(package="splitnet_tf")
class KeepZeros(_GroupsStep):
    """Holds groups and single weights at zero.

    Args:
      terms: ``Term`` whose strengths are factors: 0 for a group that stays zero, 1 for any other.
      kernels: path -> array of a kernel whose single zeros stay zero. Defaults to none.

    Attributes:
      masks: path -> keras.Variable, uint8, 0 where a weight stays zero. They are among the
        optimizer's variables, so that a saved optimizer holds them.
    """

    def __init__(self, terms: Sequence[Term], kernels: Mapping[str, np.ndarray] | None = None):
        super().__init__(terms)
        self.masks = {
            path: keras.Variable(
                (np.asarray(kernel) != 0).astype("uint8"),
                trainable=False,
                dtype="uint8",
                name="alive",
            )
            for path, kernel in (kernels or {}).items()
        }

    @property
    def variables(self) -> list[keras.Variable]:
        """Variables that an optimizer keeps with its own."""
        return list(self.masks.values())

    def _paths(self):
        return super()._paths() | dict.fromkeys(self.masks)

    def changed(self, values, rate):
        changed = {}
        for term in self.terms:
            changed |= scaled(term.groups, {**values, **changed}, term.strengths)
        for path, alive in self.masks.items():
            value = changed.get(path, values[path])
            changed[path] = ops.where(ops.convert_to_tensor(alive) > 0, value, 0.0)
        return changed

    def get_config(self):
        shapes = {path: list(alive.shape) for path, alive in self.masks.items()}
        return super().get_config() | ({"kernels": shapes} if shapes else {})

    @classmethod
    def from_config(cls, config):
        shapes = config.get("kernels", {})
        kernels = {path: np.ones(shape, "uint8") for path, shape in shapes.items()}
        return super().from_config({**config, "kernels": kernels})


def step_of(model: keras.Model, plan: SparsityPlan) -> ProximalStep | ThresholdStep:
    """The step after the step that trains a model by a plan.

    Args:
      model: from ``sparse_model``, or any functional model whose weights have different paths.
      plan: ``SparsityPlan``.

    Raises:
      ArgumentError: the model lacks a layer that the plan names.
    """
    terms = plan.terms(model)
    if plan.update == "subgradient":
        return ThresholdStep(terms, plan.threshold)
    return ProximalStep(terms)


def keep_zeros(model: keras.Model, structures: Sequence[str] = HELD) -> KeepZeros | None:
    """The step after the step that holds at zero what is zero now.

    Args:
      model: functional ``keras.Model``.
      structures: names of structures whose groups are looked at; a group is held if all of its
        weights are zero. ``"weights"`` are the single weights of kernels. Defaults to
        ``("filters", "channels", "shapes", "filters2d", "spaces", "weights")``.

    Returns:
      The step, or None when nothing is zero.

    Raises:
      ArgumentError: an unknown structure, or two weights of the model have the same path.
    """
    values = weights_by_path(model.trainable_variables)
    terms, singles = [], {}
    for groups in (g for s in structures if s != SINGLE for g in structure_groups(model, s)):
        alive = keras.ops.convert_to_numpy(group_norms(groups, values)) > 0
        if not alive.all():
            terms.append(Term(groups, alive.astype("float32")))
    if SINGLE in structures:
        left = {path: ops.ones(v.shape) for path, v in values.items()}
        left |= KeepZeros(terms).changed(left, 0.0)
        for path in (v.path for v in values.values() if is_kernel(v)):
            kernel = ops.convert_to_numpy(values[path])
            if ((kernel == 0) & (ops.convert_to_numpy(left[path]) != 0)).any():
                singles[path] = kernel
    return KeepZeros(terms, singles) if terms or singles else None


def _term_config(term: Term) -> dict[str, Any]:
    groups = term.groups
    return {
        "structure": groups.structure,
        "name": groups.name,
        "shape": list(groups.shape),
        "strengths": term.strengths.tolist(),
        "parts": [
            {
                "path": part.path,
                "axes": list(part.axes),
                "groups": part.groups.tolist(),
                "shape": list(part.shape),
            }
            for part in groups.parts
        ],
    }


def _term(config: dict[str, Any]) -> Term:
    parts = tuple(
        Part(p["path"], tuple(p["axes"]), np.asarray(p["groups"], int), tuple(p["shape"]))
        for p in config["parts"]
    )
    groups = Groups(config["structure"], config["name"], tuple(config["shape"]), parts)
    return Term(groups, np.asarray(config["strengths"], "float32"))
