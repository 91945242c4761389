"""A model's variables as several devices read and assign them in one step.

Each device is sent every variable once, whatever the number of its readers, and the small ones as
one tensor: a message costs a tenth of a millisecond of a processor, and most variables are small.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence

import keras
import tensorflow as tf

SMALL = 2**14  # elements, up to which a variable travels with others


class Shares:
    """Passes of shares of a batch through one model, one a device, while a function is traced.

    Variables of floating-point numbers that a pass assigns, such as moving statistics, are for each
    share as they were before, and end at the mean. Others, such as the state of random layers, are
    handed from share to share.

    Args:
      model: its variables stay where they are.
      devices: names, one a share.

    Attributes:
      trained: values of the model's trainable variables, for their gradients.
    """

    def __init__(self, model: keras.Model, devices: Sequence[str]):
        self._variables = [v for v in model.variables if tf.as_dtype(v.dtype).is_floating]
        self._start = [tf.convert_to_tensor(v.value) for v in self._variables]
        read = {id(v): value for v, value in zip(self._variables, self._start, strict=True)}
        self.trained = [read[id(v)] for v in model.trainable_variables]
        small = [i for i, v in enumerate(self._start) if v.shape.num_elements() <= SMALL]
        packed = _packed([self._start[i] for i in small])
        self._devices, self._scopes = tuple(devices), []
        handed: dict[int, tuple] = {}
        for device in self._devices:
            with tf.device(device):
                parts = _unpacked([tf.identity(v) for v in packed], [self._start[i] for i in small])
                sent = dict(zip(small, parts, strict=True))
                for i, value in enumerate(self._start):
                    if i not in sent:
                        sent[i] = tf.identity(value)
            mapping = [(v, sent[i]) for i, v in enumerate(self._variables)]
            self._scopes.append(_Scope(mapping, handed))
        self._handed = handed

    @contextlib.contextmanager
    def on(self, share: int) -> Iterator[None]:
        """While inside, operations are on the device of a share and read what it was sent."""
        with tf.device(self._devices[share]), self._scopes[share]:
            yield

    def keep(self) -> None:
        """Gives the model's variables what the passes assigned."""
        assigned = {i for scope in self._scopes for i in scope.assigned}
        changed = [i for i, v in enumerate(self._variables) if id(v) in assigned]
        start = [self._start[i] for i in changed]
        found = []
        for device, scope in zip(self._devices, self._scopes, strict=True):
            with tf.device(device):
                found.append(
                    _packed([scope.get_current_value(self._variables[i]) for i in changed])
                )
        means = [
            before + tf.add_n([v - before for v in each]) / len(each)
            for before, *each in zip(_packed(start), *found, strict=True)
        ]
        for i, mean in zip(changed, _unpacked(means, start), strict=True):
            self._variables[i].assign(mean)
        for variable, value in self._handed.values():
            variable.assign(value)


class _Scope(keras.StatelessScope):
    """Values that one share reads, by variable, and those that it assigned.

    Args:
      mapping: (variable, value) of all variables that are the share's own.
      handed: id -> (variable, value) of all others that a share has assigned.
    """

    def __init__(self, mapping: list[tuple], handed: dict[int, tuple]):
        super().__init__(mapping, collect_losses=True, initialize_variables=False)
        self.assigned: set[int] = set()
        self._handed = handed

    def add_update(self, update):
        variable, _ = update
        if id(variable) in self.state_mapping:
            self.assigned.add(id(variable))
            super().add_update(update)
        else:
            self._handed[id(variable)] = update

    def get_current_value(self, variable):
        _, value = self._handed.get(id(variable), (variable, None))
        return super().get_current_value(variable) if value is None else value


def _kinds(tensors: Sequence[tf.Tensor]) -> list[list[int]]:
    """Indices of tensors of each type of numbers."""
    kinds: dict[tf.DType, list[int]] = {}
    for i, tensor in enumerate(tensors):
        kinds.setdefault(tensor.dtype, []).append(i)
    return list(kinds.values())


def _packed(tensors: Sequence[tf.Tensor]) -> list[tf.Tensor]:
    """All numbers of some tensors, a vector for each type of numbers."""
    flat = [tf.reshape(v, [-1]) for v in tensors]
    return [tf.concat([flat[i] for i in kind], axis=0) for kind in _kinds(tensors)]


def _unpacked(vectors: Sequence[tf.Tensor], like: Sequence[tf.Tensor]) -> list[tf.Tensor]:
    """The tensors that were packed, shaped like others of the same types."""
    made = {}
    for vector, kind in zip(vectors, _kinds(like), strict=True):
        parts = tf.split(vector, [like[i].shape.num_elements() for i in kind])
        made.update((i, tf.reshape(p, like[i].shape)) for i, p in zip(kind, parts, strict=True))
    return [made[i] for i in range(len(like))]
