"""The plan: kernels to split, their numbers of groups, and the spaces that carry assignments."""

from __future__ import annotations

import dataclasses
import operator
from collections.abc import Iterable, Sequence

import keras

from splitnet_tf.errors import PlanError
from splitnet_tf.graph.rules import in_out, split_kernel
from splitnet_tf.graph.trace import Trace, trace
from splitnet_tf.grouping.hierarchy import merge_map
from splitnet_tf.grouping.levels import call_levels, calls_named, levels_reached
from splitnet_tf.grouping.planned import PlannedKernel, PlannedSpace, kernel_table


@dataclasses.dataclass(frozen=True)
class SplitPlan:
    """Places where a model is split, and into how many groups. Prints as a table.

    Levels number the distinct group counts from the trunk (level 0, one group) up; consecutive
    sections with as many groups are one level, and so become one node of the tree a group.

    Attributes:
      sections: (start, number of groups) from the bottom up, as given.
      groups: number of groups of each level; ``groups[0] == 1``.
      kernels: kernels to split, in topological order.
      spaces: spaces that carry assignment variables, in order of first use.
      call_levels: level of each call of the model, by name; ``tail`` for calls after the merge.
      class_spaces: names of the space or spaces of the model's first output.
      in_units: names of the calls that run in the branches in units of channels, such as
        convolutions of several groups.
      unsorted: names among ``spaces`` of those whose channels the trunk makes in their original
        order, as a layer of it needs them so; a branch takes its own out of them.
      trace: ``Trace`` of the model planned; neither compared nor printed.
    """

    sections: tuple[tuple[str, int], ...]
    groups: tuple[int, ...]
    kernels: tuple[PlannedKernel, ...]
    spaces: tuple[PlannedSpace, ...]
    call_levels: dict[str, int]
    class_spaces: tuple[str, ...]
    in_units: frozenset[str] = frozenset()
    unsorted: frozenset[str] = frozenset()
    trace: Trace | None = dataclasses.field(default=None, repr=False, compare=False)

    @property
    def tail(self) -> int:
        """Level of the calls after the branches are merged (a softmax over the classes)."""
        return len(self.groups)

    def merge(self, space: PlannedSpace, level: int) -> tuple[int, ...]:
        """Finds the group at ``level`` of each group of ``space``'s variable."""
        return merge_map(self.groups, space.level, level)

    def space(self, name: str) -> PlannedSpace:
        """Returns the planned space called ``name``.

        Raises:
          PlanError: the plan has no such space.
        """
        for space in self.spaces:
            if space.name == name:
                return space
        raise PlanError(
            f"The plan has no space '{name}'; it has {', '.join(s.name for s in self.spaces)}."
        )

    @property
    def classes(self) -> PlannedSpace:
        """Space of the classes, which are the model's first output.

        Raises:
          PlanError: several layers make that output, or it is not split.
        """
        if len(self.class_spaces) != 1:
            raise PlanError(
                f"The classes of `model` are made by several layers "
                f"({', '.join(self.class_spaces)}); give a model with one layer of logits."
            )
        name = self.class_spaces[0]
        if name not in {s.name for s in self.spaces}:
            raise PlanError(
                f"The classes, the first output of `model`, are made by '{name}', which is not "
                "split; let a section reach it, or put the output that is split first."
            )
        return self.space(name)

    @classmethod
    def from_sections(
        cls, model: keras.Model | Trace, sections: Sequence[tuple[str, int]]
    ) -> SplitPlan:
        """Plans to split every kernel from each section's start up to the next one's.

        Args:
          model: functional ``keras.Model``, or its ``Trace``.
          sections: (start, number of groups) from the bottom up. A start is the name of a layer,
            or of a block: the common beginning of its layers' names, such as ``unit_2_0``.
            Sections of one group belong to the trunk.

        Raises:
          PlanError: a start that is not there, sections out of order, fewer groups above than
            below, more groups than channels, or a layer that cannot be split exactly.

        >>> net = sn.models.mlp((8, 6), num_classes=4, input_shape=(6,))
        >>> print(sn.SplitPlan.from_sections(net, [("fc2", 2), ("logits", 4)]))
        layer   kernel  groups  input space  output space
        ------  ------  ------  -----------  ------------
        fc2     8x6     2       fc1          fc2
        logits  6x4     4       fc2          logits
        """
        return _Planner(model if isinstance(model, Trace) else trace(model), sections).plan()

    def trace_of(self, model: keras.Model) -> Trace:
        """Returns the trace of a model: the one kept if it is the model planned, or a new one.

        Raises:
          PlanError: the plan was made for another model.
        """
        kept = self.trace is not None and self.trace.shows(model)
        traced = self.trace if kept else trace(model, self.in_units)
        self.check_model(traced)
        return traced

    def check_model(self, traced: Trace) -> None:
        """Raises PlanError when the plan was made for another model than the traced one."""
        found = {c.name: c.op for c in traced.graph.calls}
        for k in self.kernels:
            if k.name not in traced.kernels or _kernel_shape(found[k.name]) != k.kernel_shape:
                raise PlanError(
                    f"The plan was made for another model: it splits layer '{k.name}' with kernel "
                    f"{k.kernel_shape}, which this model does not have."
                )
        for name in found:
            if name not in self.call_levels:
                raise PlanError(
                    f"The plan was made for another model: it does not know layer '{name}'."
                )

    def __str__(self) -> str:
        return kernel_table(self.kernels)


def _kernel_shape(layer) -> tuple[int, ...]:
    """Shape (window..., in, out) of a layer's kernel."""
    return tuple(in_out(layer, split_kernel(layer)).shape)


class _Planner:
    def __init__(self, traced: Trace, sections):
        self.trace = traced
        self.graph = traced.graph
        self.sections = self._check_sections(sections)
        counts = [g for _, g in self.sections if g > 1]
        self.groups = (1, *dict.fromkeys(counts))

    def _check_sections(self, sections) -> tuple[tuple[str, int], ...]:
        checked = []
        for entry in sections if isinstance(sections, Iterable) else [sections]:
            try:
                start, groups = entry
                start, groups = "" + start, operator.index(groups)
            except (TypeError, ValueError):
                raise PlanError(
                    f"A section must be (layer or block name, number of groups); got {entry!r}."
                ) from None
            if start in dict(checked):
                raise PlanError(f"Section '{start}' is given twice; give each start once.")
            if groups < 1:
                raise PlanError(f"Section '{start}' asks for {groups} groups; give 1 or more.")
            if checked and groups < checked[-1][1]:
                raise PlanError(
                    f"Section '{start}' has {groups} groups, fewer than the {checked[-1][1]} of "
                    f"'{checked[-1][0]}' below it; the number of groups may only grow upwards."
                )
            if not calls_named([call.name for call in self.graph.calls], start):
                raise PlanError(
                    f"No layer or block of the model is called '{start}'; its layers are "
                    f"{_some([c.name for c in self.graph.calls])}."
                )
            checked.append((start, groups))
        return tuple(checked)

    def plan(self) -> SplitPlan:
        reached = levels_reached(self.graph, self.sections, self.groups)
        # Above the cut a call that would need all channels runs in units of them where it can.
        self.trace = self.trace.again(frozenset(n for n in self.trace.divisible if reached[n]))
        levels = call_levels(self.trace, reached, len(self.groups))
        self._check_filled(levels)
        space_levels = self._space_levels(levels)
        self._check_broadcast(space_levels)
        names = [s.name for s in self.trace.spaces]
        tied = {
            s
            for layout in self.trace.layouts.values()
            for s, width in zip(layout.spaces, layout.widths, strict=True)
            if width > 1
        }
        spaces = tuple(
            PlannedSpace(names[s], self.trace.spaces[s].size, level, self.groups[level], s in tied)
            for s, level in sorted(space_levels.items())
        )
        output = self.trace.layouts[self.graph.first_output]
        classes = tuple(names[s] for s in output.spaces)
        for name, width in zip(classes, output.widths, strict=True):
            if width > 1:
                raise PlanError(
                    f"The classes are made in units of {width} that stay together ('{name}'), as "
                    "a convolution of several groups makes them; end the model in a layer whose "
                    "kernel reads all channels."
                )
        for space in spaces:
            if space.size == 1 and classes == (space.name,):
                raise PlanError(
                    f"Output '{space.name}' has one unit, which cannot be split into "
                    f"{space.num_groups} groups of classes; give the model a logit for each of the "
                    "two classes."
                )
            if space.size < space.num_groups:
                raise PlanError(
                    f"Space '{space.name}' has {space.size} {space.noun}, fewer "
                    f"than the {space.num_groups} groups asked for; ask for fewer groups."
                )
        kernels, seen = [], {}
        for call in self.graph.calls:
            if call.name not in self.trace.kernels:
                continue
            level = levels[call.name]
            if seen.setdefault(id(call.op), level) != level:
                raise PlanError(
                    f"Layer '{call.name}' is used in sections with different numbers of groups; "
                    "start the section below its first use or above its last."
                )
            if level == 0 or call.name != self._first_name(call):
                continue
            read, made = (self.trace.layouts[t] for t in (call.inputs[0], call.outputs[0]))
            rows = self.trace.rule(call).rows_of_channel(call.op)
            kernels.append(
                PlannedKernel(
                    call.name,
                    type(call.op).__name__,
                    _kernel_shape(call.op),
                    level,
                    self.groups[level],
                    tuple(names[s] for s in read.spaces),
                    tuple(names[s] for s in made.spaces),
                    tuple(w * rows for w in read.widths),
                    made.widths,
                )
            )
        if len(self.groups) > 1 and not kernels:
            raise PlanError(
                f"Nothing to split: no kernel lies at or above '{self.sections[-1][0]}'."
            )
        return SplitPlan(
            self.sections,
            self.groups,
            tuple(kernels),
            spaces,
            levels,
            classes,
            self.trace.in_units,
            frozenset(names[s] for s in self._bound_to_order(levels).intersection(space_levels)),
            self.trace,
        )

    def _first_name(self, call) -> str:
        return next(c.name for c in self.graph.calls if c.op is call.op)

    def _check_filled(self, levels: dict[str, int]) -> None:
        for level, groups in enumerate(self.groups[1:], 1):
            if level not in levels.values():
                start = next(s for s, g in self.sections if g == groups)
                raise PlanError(
                    f"Section '{start}' has no layer to split into {groups} groups (it joins the "
                    "section above, or runs after the merge); start it lower or leave it out."
                )

    def _space_levels(self, levels: dict[str, int]) -> dict[int, int]:
        """Level of each space that carries variables: the highest that touches it."""
        found: dict[int, int] = {}
        for call in self.graph.calls:
            level = levels[call.name]
            if not 0 < level < len(self.groups):
                continue
            shared = self.trace.broadcast(call)
            for t in (*call.inputs, *call.outputs):
                if t in shared:
                    continue
                for s in self.trace.layouts[t].spaces:
                    found[s] = max(found.get(s, 0), level)
        return found

    def _bound_to_order(self, levels: dict[str, int]) -> set[int]:
        """Spaces that layers of the trunk need in their original order."""
        return {
            s
            for call in self.graph.calls
            if call.name in self.trace.ordered and levels[call.name] == 0
            for t in (*call.inputs, *call.outputs)
            for s in self._spaces(t)
        }

    def _check_broadcast(self, space_levels: dict[int, int]) -> None:
        for call in self.graph.calls:
            shared = self.trace.broadcast(call)
            for t in shared:
                if any(s in space_levels for s in self._spaces(t)):
                    raise PlanError(
                        f"Layer '{call.name}' needs a mask or a single channel that every group "
                        "reads, but it is made inside the split part; start the sections above it."
                    )

    def _spaces(self, tensor: int) -> tuple[int, ...]:
        return self.trace.layouts[tensor].spaces


def _some(names: list[str], most: int = 12) -> str:
    shown = ", ".join(names[:most])
    return shown if len(names) <= most else f"{shown} and {len(names) - most} more"
