"""From a model with zeros and a selection to a smaller model that computes the same."""

from __future__ import annotations

import dataclasses
from typing import Any

import keras
import numpy as np
from keras import layers

from splitnet_tf.graph.calls import Call, TensorRef, unused
from splitnet_tf.graph.copying import apply_call
from splitnet_tf.graph.ends import finish_model, make_inputs
from splitnet_tf.graph.shape_rules import ConcatenateRule
from splitnet_tf.graph.slicing import sliced
from splitnet_tf.graph.trace import trace
from splitnet_tf.sparsity.changes import Changes, channels_left, kernel_changes
from splitnet_tf.sparsity.narrowing import Narrowing, narrowings
from splitnet_tf.sparsity.removal import Findings, Remains, join_kind, what_remains
from splitnet_tf.sparsity.selection import (
    Selection,
    check_selection,
    layers_gone,
    selection_of,
)
from splitnet_tf.sparsity.weight_axes import layers_of


@dataclasses.dataclass(frozen=True, eq=False)
class Shrunk:
    """A shrunk model and what was done.

    Attributes:
      model: functional ``keras.Model`` of stock layers.
      selection: ``Selection``, what was kept in the end.
      changes: ``Changes``, the difference layer by layer and what was left in place.
    """

    model: keras.Model
    selection: Selection
    changes: Changes


def shrink_model(
    model: keras.Model, selection: Selection | None = None, gather: bool = False
) -> Shrunk:
    """Takes out of a model what its zeros make useless.

    The shrunk model computes what ``model`` computes at inference, for any pattern of zeros. What a
    selection gives up though the model still needs it is kept, and named in ``changes.left``;
    ``apply_selection`` sets it to zero beforehand.

    Args:
      model: functional ``keras.Model``; it is left as it is.
      selection: what to keep. Defaults to ``read_selection(model)``, all that can go.
      gather: bool, whether the columns in use of a kernel, where they are neither whole channels
        nor a box of the window, are gathered by ``keras.ops`` and multiplied by a smaller kernel.
        Defaults to False, which leaves columns of zeros in place.

    Returns:
      ``Shrunk``.

    Raises:
      SelectionError: the selection was made for another model.
      PlanError: the model has no graph, or Keras cannot make a layer again.
    """
    planned = _Planned.of(model, selection, gather)
    small = _Shrinker(planned.findings, planned.remains, planned.narrowed).build(model.name)
    method = "zeros" if selection is None else selection.method
    done = selection_of(planned.findings, planned.remains, model.name, method)
    return Shrunk(small, done, planned.changes())


def predict_changes(
    model: keras.Model, selection: Selection | None = None, gather: bool = False
) -> Changes:
    """Says what ``shrink_model`` would change, without building anything.

    Args:
      model, selection, gather: see ``shrink_model``.
    """
    return _Planned.of(model, selection, gather).changes()


@dataclasses.dataclass(frozen=True, eq=False)
class _Planned:
    """Everything that is decided before the smaller model is built."""

    findings: Findings
    remains: Remains
    narrowed: dict[str, Narrowing]
    left: tuple[str, ...]

    @classmethod
    def of(cls, model: keras.Model, selection: Selection | None, gather: bool) -> _Planned:
        traced = trace(model)
        findings = Findings.of(traced)
        kept = columns = gone = None
        if selection is not None:
            check_selection(selection).check_model(traced)
            given = {space.name: space.mask() for space in selection.spaces}
            kept = [given.get(s.name, np.ones(s.size, bool)) for s in traced.spaces]
            columns = {c.name: c.mask() for c in selection.columns}
            gone = frozenset(selection.layers)
        remains = what_remains(findings, kept, gone)
        narrowed, left = narrowings(traced, remains, columns, gather)
        left = [*channels_left(traced, remains, kept), *left]
        stay = (gone or set()) - set(layers_gone(traced, remains))
        left += [f"layer '{name}' stays: what it makes is used" for name in sorted(stay)]
        return cls(findings, remains, narrowed, tuple(left))

    def changes(self) -> Changes:
        kernels = kernel_changes(self.findings.trace, self.remains, self.narrowed)
        return Changes(kernels, self.left)


class _Shrinker:
    def __init__(self, findings: Findings, remains: Remains, narrowed: dict[str, Narrowing]):
        self.findings, self.remains, self.narrowed = findings, remains, narrowed
        self.trace, self.graph = findings.trace, findings.trace.graph
        self.tensors: dict[int, Any] = {}
        self.made: dict[int, Any] = {}
        self.names = set(layers_of(self.trace))

    def build(self, name: str) -> keras.Model:
        graph = self.graph
        self.tensors.update(make_inputs(graph))
        for call in graph.calls:
            if call.name in self.remains.operands:
                self._run_join(call)
            elif call.name not in self.remains.calls:
                continue
            elif isinstance(self.trace.rule(call), ConcatenateRule):
                self._run_some(call, [t for t in call.inputs if self._lives(t)])
            else:
                self._run_layer(call)
        return finish_model(graph, self.tensors, name)

    def _lives(self, tensor: int) -> bool:
        return bool(self.remains.alive(self.trace, tensor).any())

    # Sums, products and concatenations that lose inputs.

    def _run_some(self, call: Call, stay: list[int]) -> None:
        """Runs a call of several tensors on those that stay; one alone is what comes out."""
        if len(stay) == 1 < len(call.inputs):
            self.tensors[call.outputs[0]] = self.tensors[stay[0]]
            return
        if len(stay) < len(call.inputs):
            refs = ([TensorRef(t) for t in stay],)
            call = dataclasses.replace(call, args=refs, kwargs={}, inputs=tuple(stay))
        self._run_layer(call)

    def _run_join(self, call: Call) -> None:
        """A sum or product without its constant operands, which become one offset or scale."""
        stay, made = list(self.remains.operands[call.name]), call.outputs[0]
        alive = self.remains.alive(self.trace, made)
        gone = [self.findings.constants[t][alive] for t in call.inputs if t not in stay]
        self._run_some(call, stay)
        if join_kind(call) == "add":
            value, neutral = np.sum(gone, axis=0), 0.0
            settings = {"scale": 1.0, "offset": value.tolist()}
        else:
            value, neutral = np.prod(gone, axis=0), 1.0
            settings = {"scale": value.tolist()}
        if (value != neutral).any():
            name = unused(f"{call.layer_name}_constant", self.names)
            dtype = getattr(call.op, "dtype_policy", None)
            rescale = layers.Rescaling(**settings, name=name, dtype=dtype)
            self.tensors[made] = rescale(self.tensors[made])

    # Layers.

    def _run_layer(self, call: Call) -> None:
        op, narrowed = call.op, self.narrowed.get(call.layer_name)
        weights = []
        if id(op) not in self.made:
            ins = [self.remains.channels(self.trace, t) for t in call.inputs]
            outs = [self.remains.channels(self.trace, t) for t in call.outputs]
            offset = self._offset(call)
            settings = {} if offset is None else {"use_bias": True}
            settings |= {} if narrowed is None else narrowed.settings
            self.made[id(op)], weights = sliced(
                self.trace, call, call.layer_name, ins, outs, settings
            )
            if narrowed is not None:
                weights[0] = narrowed.kernel(weights[0])
            if offset is not None:
                own = weights.pop() if op.use_bias else 0.0
                weights.append((own + offset[outs[0]]).astype("float32"))
        tensors = self.tensors
        if narrowed is not None:
            read = call.inputs[0]
            name = f"{call.layer_name}_input"
            tensors = {**tensors, read: narrowed.input(tensors[read], unused(name, self.names))}
        made: dict[int, Any] = {**tensors}
        apply_call(call, self.made[id(op)], made)
        self.tensors.update({t: made[t] for t in call.outputs})
        if weights:  # the call has built the layer
            self.made[id(op)].set_weights(weights)

    def _offset(self, call: Call) -> np.ndarray | None:
        """Sum that the constants that go add to a layer's outputs, (out,); None for nothing."""
        view = self.findings.views.get(call.name)
        if view is None:
            return None
        read, made = call.inputs[0], self.remains.alive(self.trace, call.outputs[0])
        gone = ~self.remains.alive(self.trace, read)
        offset = np.where(gone, np.nan_to_num(self.findings.constants[read]), 0.0) @ view.sums
        return offset if (offset[made] != 0).any() else None
