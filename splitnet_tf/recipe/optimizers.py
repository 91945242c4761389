"""Optimizers with a pace for each variable and a step after the step."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping

import keras
from keras import ops

from splitnet_tf.errors import ArgumentError
from splitnet_tf.recipe.phase import Phase

AfterStep = Callable[[list[keras.Variable], "keras.KerasTensor"], None]


class _Paced:
    """Paces and a step after the step, before an optimizer of Keras among the bases."""

    def __init__(
        self,
        *args,
        paces: Mapping[int | str, float] = (),
        after_step: AfterStep | None = None,
        average_from: int = 0,
        **kwargs,
    ):
        super().__init__(*args, **kwargs)
        self.average_from = average_from
        self._paces = tuple(dict(paces).items())  # a dict would be tracked
        self._after_step = after_step

    def build(self, variables):
        if not self.built:
            paces = dict(self._paces)
            self._factors = tuple(paces.get(id(v), paces.get(v.path, 1.0)) for v in variables)
            for variable in getattr(self._after_step, "variables", ()):
                self._track_variable(variable)
        super().build(variables)

    def update_step(self, gradient, variable, learning_rate):
        rate = learning_rate
        factor = self._factors[self._get_variable_index(variable)]
        if factor != 1.0:
            rate = ops.cast(learning_rate, variable.dtype) * factor
        if self.weight_decay and self._use_weight_decay(variable):
            self.assign_sub(variable, variable * self.weight_decay * ops.cast(rate, variable.dtype))
        super().update_step(gradient, variable, rate)

    def _apply_weight_decay(self, variables):
        """Nothing: ``update_step`` does it, at each variable's pace."""

    def _backend_update_step(self, grads, trainable_variables, learning_rate):
        super()._backend_update_step(grads, trainable_variables, learning_rate)
        # Here, so that averaged weights are of what it leaves, and once for accumulated gradients.
        if self._after_step is not None:
            self._after_step(list(self._trainable_variables), ops.convert_to_tensor(learning_rate))

    def _update_model_variables_moving_average(self, trainable_variables):
        """Averages as the classes below say: few steps are not averaged over many."""
        if not self.use_ema:
            return
        steps = ops.cast(self.iterations, "float32")
        n = ops.where(steps < self.average_from, steps, steps - self.average_from)
        momentum = ops.where(n > 0, ops.minimum(self.ema_momentum, (1 + n) / (10 + n)), 0.0)
        pairs = zip(trainable_variables, self._model_variables_moving_average, strict=True)
        for variable, average in pairs:
            if average is not None:
                share = ops.cast(momentum, variable.dtype)
                average.assign(share * average + (1 - share) * variable)

    def get_config(self):
        config = super().get_config()
        if self.average_from:
            config["average_from"] = self.average_from
        if self._paces:
            if not self.built:
                raise ArgumentError(
                    "An optimizer with `paces` is saved after it was built: call "
                    "`optimizer.build(model.trainable_variables)`."
                )
            pairs = zip(self._trainable_variables, self._factors, strict=True)
            config["paces"] = {v.path: factor for v, factor in pairs if factor != 1.0}
        if self._after_step is not None:
            config["after_step"] = keras.saving.serialize_keras_object(self._after_step)
        return config

    @classmethod
    def from_config(cls, config, custom_objects=None):
        config = dict(config)
        after_step = config.pop("after_step", None)
        optimizer = super().from_config(config, custom_objects)
        if after_step is not None:
            optimizer._after_step = keras.saving.deserialize_keras_object(
                after_step, custom_objects=custom_objects
            )
        return optimizer


@keras.saving.register_keras_serializable(package="splitnet_tf")
class SGD(_Paced, keras.optimizers.SGD):
    """SGD with momentum, paces and a step after the step.

    Takes all arguments of ``keras.optimizers.SGD`` and these:

    Args:
      paces: factors on the learning rate of variables, a mapping from ``id(variable)`` (or the
        variable's path) to a float of 0 or more. Variables not named have 1; with 0 a variable
        stays as it is. Variables that are not trained may be named.
      after_step: called as ``after_step(variables, rate)`` after each update with the trainable
        variables and the learning rate of the step (a scalar tensor, without paces); it assigns
        what it changes. It runs within the compiled step, also in ``fit``, and before averaged
        weights (``use_ema``) are updated. To be saved it must be registered with Keras. Its
        ``variables``, if it has any, are kept with the optimizer's.
      average_from: int of 0 or more, step from which averaged weights (``use_ema``) begin anew.
        After n more steps their momentum is min(``ema_momentum``, (1 + n) / (10 + n)), and 0 where
        n is 0. Defaults to 0.

    >>> variable = keras.Variable([1.0])
    >>> optimizer = SGD(0.1, paces={id(variable): 5.0})
    >>> optimizer.apply([keras.ops.ones(1)], [variable])
    >>> round(float(variable[0]), 4)
    0.5
    """


@keras.saving.register_keras_serializable(package="splitnet_tf")
class AdamW(_Paced, keras.optimizers.AdamW):
    """AdamW with paces, which scale update and weight decay, and a step after the step.

    Takes all arguments of ``keras.optimizers.AdamW``, and ``paces``, ``after_step`` and
    ``average_from`` as ``SGD``.
    """


@functools.cache
def paced(kind: type[keras.optimizers.Optimizer]) -> type[keras.optimizers.Optimizer]:
    """A class of Keras' optimizers with paces and a step after the step.

    Args:
      kind: class such as ``keras.optimizers.Lion``.

    Returns:
      A registered subclass that takes the arguments that ``SGD`` has besides Keras'. A process that
      loads a model saved with it calls this first.

    Raises:
      ArgumentError: it is not a class of optimizers.
    """
    if not isinstance(kind, type) or not issubclass(kind, keras.optimizers.Optimizer):
        raise ArgumentError(
            f"`kind` must be a class of Keras' optimizers, such as keras.optimizers.Lion; got "
            f"{kind!r}."
        )
    made = type(f"Paced{kind.__name__}", (_Paced, kind), {"__module__": __name__})
    return keras.saving.register_keras_serializable(package="splitnet_tf")(made)


def optimizer_for(
    phase: Phase,
    paces: Mapping[int, float] = (),
    after_step: AfterStep | None = None,
    learning_rate=0.0,
    average_from: int = 0,
) -> SGD | AdamW:
    """The optimizer of a phase.

    Args:
      phase: its ``optimizer``, ``momentum``, ``nesterov`` and ``ema`` are used. ``l2`` is part of
        the loss; AdamW decays no weights besides.
      paces, after_step: see ``SGD``.
      learning_rate: float or a schedule of Keras. Defaults to 0, for a loop that sets it at each
        step.
      average_from: int, see ``SGD``. Defaults to 0.
    """
    more = {"paces": paces, "after_step": after_step}
    if phase.ema:
        more |= {"use_ema": True, "ema_momentum": phase.ema, "average_from": average_from}
    if phase.optimizer == "adamw":
        return AdamW(learning_rate, weight_decay=0.0, **more)
    nesterov = phase.nesterov and phase.momentum > 0
    return SGD(learning_rate, momentum=float(phase.momentum), nesterov=nesterov, **more)
