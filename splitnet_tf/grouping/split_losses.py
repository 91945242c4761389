"""Layer that adds the three split losses of a grouped model, once a call."""

from __future__ import annotations

import math
import numbers

import keras
import numpy as np
from keras import ops

from splitnet_tf.errors import ArgumentError
from splitnet_tf.graph.state import mark_setting
from splitnet_tf.grouping.regularizers import (
    balance,
    check_scaling,
    disjointness,
    group_weight,
    least_balance,
)

REDUCTIONS = ("mean", "weighted")
TERMS = ("group_weight", "disjointness", "balance")  # R_W, R_D, R_E


class _Members:
    """Grouped layers that share a ``SplitLosses``.

    Opaque to Keras' attribute tracking, which would otherwise follow the circle from the layers
    to their losses and back.
    """

    def __init__(self):
        self.layers = []


def _checked_gamma(name: str, gamma) -> float:
    if not isinstance(gamma, numbers.Real) or not 0 <= gamma < math.inf:
        raise ArgumentError(f"`{name}` must be a number of 0 or more; got {gamma!r}.")
    return gamma


def _gamma(index: int) -> property:
    """Property ``gamma1``, ``gamma2`` or ``gamma3`` of ``SplitLosses``."""

    def read(self):
        if self.built:  # weights may have been put back, with the gammas among them
            found = ops.convert_to_numpy(self.gammas)[index]
            return self._values[index] if found == np.float32(self._values[index]) else float(found)
        return self._values[index]

    def write(self, value):
        values = [self.gamma1, self.gamma2, self.gamma3]
        values[index] = _checked_gamma(f"gamma{index + 1}", value)
        self._values = tuple(values)
        if self.built:
            self.gammas.assign(self._values)

    return property(read, write)


@keras.saving.register_keras_serializable(package="splitnet_tf")
class SplitLosses(keras.layers.Layer):
    """Adds gamma1 R_W, gamma2 R_D and gamma3 (R_E less its least value) to the model's losses.

    The least value of R_E, at groups of equal size, is a constant: without it the gradients are
    the same, and all three losses are 0 for groups that are equal and decided, with nothing
    between them.

    One object is shared by all grouped layers of a model; each registers itself when it is built,
    and the last one calls it, as an identity on its output. So ``model.losses`` has the three
    weighted losses exactly once, whatever the number of layers.

    Args:
      gamma1, gamma2, gamma3: float of 0 or more, weights of R_W, R_D and R_E (the paper's order).
        Default to 1, 1 and 10. They may be set anew at any time: compiled functions read them.
      scaling: ``"unit"`` or ``"paper"``, see ``regularizers``. Defaults to ``"unit"``.
      reduction: R_W over kernels: ``"mean"``, the default, or ``"weighted"``, the sum of
        ``sg(S_l) S_l`` over the sum of ``sg(S_l)``, with sg the stopped gradient.
      sections: (start, number of groups) of the plan's sections, kept so that a saved model can be
        split on its own.
      gates: bool, whether the split kernels have gates, see ``gates``. Defaults to False.

    Weights:
      strength: float32 (3,), not trained, multiplies the three (0 during a warm-up).
      gammas: float32 (3,), not trained, the values of ``gamma1``, ``gamma2`` and ``gamma3``.
      closed: float32 scalar, not trained, how far the gates are closed, 0 to 1; with gates only.
    """

    gamma1, gamma2, gamma3 = _gamma(0), _gamma(1), _gamma(2)

    def __init__(
        self,
        gamma1=1.0,
        gamma2=1.0,
        gamma3=10.0,
        scaling="unit",
        reduction="mean",
        sections=(),
        gates=False,
        **kwargs,
    ):
        kwargs["dtype"] = "float32"
        kwargs["autocast"] = False
        super().__init__(**kwargs)
        if reduction not in REDUCTIONS:
            raise ArgumentError(
                f"`reduction` must be one of {', '.join(REDUCTIONS)}; got {reduction!r}."
            )
        self._values = (1.0, 1.0, 10.0)
        self.gamma1, self.gamma2, self.gamma3 = gamma1, gamma2, gamma3
        self.scaling = check_scaling(scaling)
        self.reduction = reduction
        self.sections = tuple((str(start), int(groups)) for start, groups in sections)
        self.gates = bool(gates)
        self._members = _Members()

    def build(self, input_shape=None):
        self.strength = self.add_weight(
            name="strength", shape=(3,), initializer="ones", trainable=False
        )
        gammas = self.add_weight(
            name="gammas",
            shape=(3,),
            initializer=keras.initializers.Constant(self._values),
            trainable=False,
        )
        self.gammas = mark_setting(gammas)
        if self.gates:
            self.closed = self.add_weight(
                name="closed", shape=(), initializer="zeros", trainable=False, autocast=False
            )
        self.built = True

    def load_own_variables(self, store):
        """Loads all but the gammas, which are settings of the layer, not of a file of weights."""
        self.strength.assign(store["0"])
        if self.gates:
            self.closed.assign(store["2"])

    def register(self, layer) -> None:
        """Counts ``layer`` among the layers whose kernels and spaces are regularized."""
        if all(member is not layer for member in self._members.layers):
            self._members.layers.append(layer)

    def is_reporter(self, layer) -> bool:
        """True when ``layer`` is the one that adds the losses."""
        return bool(self._members.layers) and self._members.layers[-1] is layer

    # Methods, not properties: Keras' saving walks properties, and these lead round in circles.

    def grouped_layers(self) -> tuple:
        """Returns the grouped layers, in the order in which they were built."""
        return tuple(self._members.layers)

    def assignments(self) -> tuple:
        """Returns the assignment layers, each once, in order of first use."""
        found = {}
        for layer in self._members.layers:
            for assignment in (*layer.in_assignments, *layer.out_assignments):
                found.setdefault(id(assignment), assignment)
        return tuple(found.values())

    def terms(self) -> dict:
        """Computes the three unweighted losses (scalars) by name, see ``TERMS``."""
        weights = [
            group_weight(layer.matrix(), layer.p, layer.q, self.scaling)
            for layer in self._members.layers
        ]
        spaces = [assignment.p() for assignment in self.assignments()]
        values = (
            self._reduce(weights),
            _mean([disjointness(p, self.scaling) for p in spaces]),
            _mean([balance(p, self.scaling) for p in spaces]),
        )
        return dict(zip(TERMS, values, strict=True))

    def _reduce(self, values):
        if self.reduction == "mean":
            return _mean(values)
        values = ops.stack(values)
        weights = ops.stop_gradient(values)
        return ops.sum(weights * values) / ops.maximum(ops.sum(weights), 1e-12)

    def call(self, inputs):
        if self.losses:  # the reporting layer is used in several places
            return inputs
        least = _mean([least_balance(*a.logits.shape, self.scaling) for a in self.assignments()])
        for i, (term, less) in enumerate(
            zip(self.terms().values(), (0.0, 0.0, least), strict=True)
        ):
            self.add_loss(self.strength[i] * self.gammas[i] * (term - less))
        return inputs

    def compute_output_shape(self, input_shape):
        return input_shape

    def get_config(self):
        return {
            **super().get_config(),
            "gamma1": self.gamma1,
            "gamma2": self.gamma2,
            "gamma3": self.gamma3,
            "scaling": self.scaling,
            "reduction": self.reduction,
            "sections": [list(section) for section in self.sections],
            "gates": self.gates,
        }


def _mean(values):
    return sum(values) / len(values)
