"""A selection: what a smaller model keeps of every channel space, kernel and layer."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import keras
import numpy as np
from keras import ops

from splitnet_tf.errors import SelectionError, SplitNetError
from splitnet_tf.graph.channel_sets import ChannelSets, SetsFile, space_entry
from splitnet_tf.graph.trace import Trace, trace
from splitnet_tf.sparsity.columns import live_columns
from splitnet_tf.sparsity.group_lasso import scaled, weights_by_path
from splitnet_tf.sparsity.removal import Findings, Remains, what_remains
from splitnet_tf.sparsity.structures import structure_groups
from splitnet_tf.sparsity.weight_axes import fixed_spaces, kernels_of, layers_of
from splitnet_tf.storage.atomic import write_atomically

FILE = SetsFile(
    "selection file", "splitnet_tf.selection", "splitnet_tf.cli.sparsify", SelectionError
)


@dataclasses.dataclass(frozen=True)
class Kept(ChannelSets):
    """Indices kept of one space's channels, or of one kernel's columns.

    Attributes:
      name: str, name of the space, or of the kernel's layer.
      members: one tuple, the indices kept, ascending ints.
      size: int, number of channels or columns before.
    """

    error: ClassVar[type[SplitNetError]] = SelectionError

    @classmethod
    def from_mask(cls, name: str, mask: np.ndarray) -> Kept:
        """Makes one from a bool for each index, True where it is kept."""
        return cls(name, (tuple(np.flatnonzero(mask).tolist()),), int(np.size(mask)))

    @property
    def indices(self) -> tuple[int, ...]:
        """The indices kept."""
        return self.members[0]

    def mask(self) -> np.ndarray:
        """True for each index that is kept, bool (size,)."""
        return self.labels() == 0

    def check(self) -> None:
        """Raises SelectionError unless ``members`` is one set of indices below ``size``."""
        if len(self.members) != 1:
            raise SelectionError(
                f"'{self.name}' must have one list of what is kept; got {len(self.members)}."
            )
        super().check()


@dataclasses.dataclass(frozen=True)
class Selection:
    """Channels, columns and layers kept of a model; sparse training hands it to the shrink.

    A space or kernel that is not listed keeps everything.

    Attributes:
      model: str, name of the model it was made for.
      method: str, how it was decided: ``zeros``, ``norms``, ``random``, or a word of your own.
      spaces: channels kept of each space; none at all where every layer around goes.
      columns: columns kept of the lowered matrix (window x input channels, row-major) of kernels;
        for a dense layer its inputs.
      layers: names of the layers with kernels that go altogether.

    Raises:
      SelectionError: indices that are repeated or out of range, or a name twice.
    """

    model: str
    method: str
    spaces: tuple[Kept, ...]
    columns: tuple[Kept, ...] = ()
    layers: tuple[str, ...] = ()

    def __post_init__(self):
        for kind, values in (("spaces", self.spaces), ("columns", self.columns)):
            names = [value.name for value in values]
            if len(set(names)) != len(names):
                raise SelectionError(f"Two of '{kind}' have the same name.")
            for value in values:
                value.check()

    def space(self, name: str) -> Kept:
        """Returns what is kept of the space called ``name``.

        Raises:
          SelectionError: there is no such space.
        """
        for space in self.spaces:
            if space.name == name:
                return space
        raise SelectionError(
            f"The selection has no space '{name}'; it has {', '.join(s.name for s in self.spaces)}."
        )

    def check_model(self, traced: Trace) -> None:
        """Raises SelectionError when the selection was made for another model."""
        sizes = {space.name: space.size for space in traced.spaces}
        columns = {g.name: g.count for g in structure_groups(traced, "shapes", frozen=True)}
        for kind, found, known in (
            ("space", self.spaces, sizes),
            ("kernel", self.columns, columns),
        ):
            for kept in found:
                if known.get(kept.name) != kept.size:
                    raise SelectionError(
                        f"The selection has a {kind} '{kept.name}' of size {kept.size}, the model "
                        f"{known.get(kept.name, 'none')}; it was made for another model."
                    )
        missing = sorted(set(self.layers) - set(layers_of(traced)))
        if missing:
            raise SelectionError(
                f"The selection gives up layer '{missing[0]}', which is no layer with weights of "
                "the model; it was made for another model."
            )

    def to_json(self) -> str:
        """Returns the text of the JSON file, with its checksum."""
        document = {
            "model": self.model,
            "method": self.method,
            "layers": list(self.layers),
            "spaces": [space_entry(s) for s in self.spaces],
            "columns": [space_entry(s) for s in self.columns],
        }
        return FILE.to_json(document)

    def save(self, path: str | Path) -> None:
        """Writes the JSON file, beside and renamed."""
        write_atomically(path, self.to_json().encode())

    @classmethod
    def load(cls, path: str | Path) -> Selection:
        """Reads and checks a JSON file.

        Raises:
          SelectionError: the file is missing or is not a whole, consistent selection.
        """
        return FILE.read(path, cls.from_document)

    @classmethod
    def from_document(cls, document: Mapping[str, Any]) -> Selection:
        """Checks what a selection file holds.

        Raises:
          SelectionError: with a sentence that names the key at fault.
        """
        FILE.check_format(document)
        return cls(
            FILE.typed(document.get("model"), str, "model"),
            FILE.typed(document.get("method"), str, "method"),
            FILE.spaces(document, Kept),
            FILE.spaces(document, Kept, "columns"),
            tuple(FILE.name(n, "layers") for n in FILE.items(document, "layers")),
        )


def check_selection(selection: Selection) -> Selection:
    """Returns a selection; raises SelectionError for anything else, such as the path of a file."""
    if not isinstance(selection, Selection):
        raise SelectionError(
            f"`selection` must be a Selection; got {selection!r:.100}: Selection.load(path) reads "
            "a file."
        )
    return selection


def read_selection(model: keras.Model | Trace) -> Selection:
    """Reads from a model's exact zeros what it can do without.

    Args:
      model: functional ``keras.Model`` after sparse training, or its trace.

    Returns:
      A selection whose shrunk model computes what ``model`` computes. Constants that a dead channel
      leaves behind count as zeros where the next layer can take them. What a branch that goes held
      together can go in a second shrink of the smaller model.
    """
    traced = model if isinstance(model, Trace) else trace(model)
    name = "model" if isinstance(model, Trace) else model.name
    findings = Findings.of(traced)
    return selection_of(findings, what_remains(findings), name)


def selection_of(
    findings: Findings, remains: Remains, model: str, method: str = "zeros"
) -> Selection:
    """The selection that says what remains of a model."""
    traced = findings.trace
    fixed = fixed_spaces(traced)
    spaces = tuple(
        Kept.from_mask(space.name, kept)
        for i, (space, kept) in enumerate(zip(traced.spaces, remains.kept, strict=True))
        if i not in fixed
    )
    columns = tuple(
        Kept.from_mask(name, mask)
        for name, (mask, zero) in live_columns(traced, remains).items()
        if zero
    )
    return Selection(model, method, spaces, columns, layers_gone(traced, remains))


def layers_gone(traced: Trace, remains: Remains) -> tuple[str, ...]:
    """Names of the layers with kernels that do not remain, in the model's order."""
    stay = {call.layer_name for call in traced.graph.calls if call.name in remains.calls}
    kernels = (name for name, call in layers_of(traced).items() if kernels_of(traced, call))
    return tuple(name for name in kernels if name not in stay)


def apply_selection(model: keras.Model, selection: Selection) -> None:
    """Sets to zero what a selection does not keep, in place.

    Of a channel that goes, all that makes it becomes zero, its biases and norms, and all that reads
    it; of a column and of a layer the weights of its kernel. ``shrink_model`` then takes them out.

    Args:
      model: functional ``keras.Model``.
      selection: made for this model.

    Raises:
      SelectionError: the selection was made for another model.
      ArgumentError: it gives up channels that cannot be taken out.
    """
    traced = trace(model)
    check_selection(selection).check_model(traced)
    masks = {("spaces", s.name): s.mask() for s in selection.spaces if len(s.indices) < s.size} | {
        ("shapes", c.name): c.mask() for c in selection.columns
    }
    masks |= {("depth", name): np.zeros(1, bool) for name in selection.layers}
    variables = weights_by_path(model.variables)
    for structure in ("spaces", "shapes", "depth"):
        names = [name for s, name in masks if s == structure]
        for groups in structure_groups(traced, structure, names, True) if names else ():
            mask = masks[structure, groups.name].astype("float32")
            for path, value in scaled(groups, variables, ops.convert_to_tensor(mask)).items():
                variables[path].assign(value)
