"""The tree of branches of a model and a grouping.

Every node computes the calls of its level on the channels of its group. Permutations are folded
into the weights: the trunk makes its channels already sorted by group, so that what a branch
reads lies side by side; only the head puts the classes back into their order. Where the trunk has
a layer that needs its channels in their original order, a branch takes its own out of them.
"""

from __future__ import annotations

import dataclasses

import keras
import numpy as np

from splitnet_tf.graph.calls import Call, unused
from splitnet_tf.graph.copying import one_or_all
from splitnet_tf.graph.ends import finish_model, make_inputs
from splitnet_tf.graph.slicing import run_calls
from splitnet_tf.graph.taking import gather_channels, take_channels
from splitnet_tf.graph.trace import Trace
from splitnet_tf.grouping.blocks import check_grouping, off_block_energy, tell_energy
from splitnet_tf.grouping.grouped_layers import GroupedKernel
from splitnet_tf.grouping.grouping import Grouping
from splitnet_tf.grouping.hierarchy import merge_map, node_names
from splitnet_tf.grouping.plan import SplitPlan
from splitnet_tf.splitting.tree import HEAD, TRUNK, SplitTree


def split_model(
    model: keras.Model,
    grouping: Grouping,
    plan: SplitPlan | None = None,
    dropout: float | None = None,
) -> SplitTree:
    """Cuts a model into a tree of branches that share nothing above the cut.

    For a grouped model logs the share of the split kernels' energy that the cut takes away, as a
    warning where it is more than 1% of a kernel.

    Args:
      model: grouped ``keras.Model``, or any plain functional model that the grouping was made for.
      grouping: ``Grouping``, groups of every split space.
      plan: ``SplitPlan`` of the model. Defaults to that of the grouping's sections.
      dropout: float, rate of the tree's dropout layers (layers of rate 0 keep it). Defaults to
        None, the model's rates. The 2017 code finetunes with 0: a branch has few features to spare.

    Returns:
      A ``SplitTree``; it computes what ``model`` computes with its off-block weights set to zero.

    Raises:
      GroupingError: the grouping is not one of this model's spaces.
      PlanError: the model cannot be split exactly, or the plan is another model's.

    >>> net = sn.models.mlp((8,), num_classes=4, input_shape=(6,))
    >>> grouped = sn.group_model(net, [("logits", 2)])
    >>> tree = sn.split_model(grouped, sn.read_grouping(grouped, method="balanced"))
    >>> [node.name for node in tree.nodes()]
    ['trunk', 'branch_0', 'branch_1', 'head']
    """
    plan = plan or SplitPlan.from_sections(model, grouping.sections)
    traced = plan.trace_of(model)
    plan = dataclasses.replace(plan, trace=traced)
    check_grouping(plan, grouping)
    if any(isinstance(call.op, GroupedKernel) for call in traced.graph.calls):
        tell_energy(off_block_energy(model, grouping, plan))
    return _Splitter(traced, plan, grouping, dropout).split(model.name)


class _Splitter:
    def __init__(self, traced: Trace, plan: SplitPlan, grouping: Grouping, dropout: float | None):
        self.dropout = dropout
        self.trace, self.graph, self.plan = traced, traced.graph, plan
        self.producers = self.graph.producers()
        self.planned = {s.name: s for s in plan.spaces}
        self.labels = {s.name: s.labels() for s in grouping.spaces if s.name in self.planned}
        self._kept: dict[tuple[int, int, int], np.ndarray] = {}

    # Channels of a tensor that a node holds, in its order.

    def _space_members(self, space: int, level: int, group: int) -> np.ndarray:
        key = (space, level, group)
        if key not in self._kept:
            planned = self.planned.get(self.trace.spaces[space].name)
            size = self.trace.spaces[space].size
            unsorted = level == 0 and planned is not None and planned.name in self.plan.unsorted
            if planned is None or unsorted or level == self.plan.tail:
                self._kept[key] = np.arange(size)
            else:
                labels = self.labels[planned.name]
                merge = np.asarray(self.plan.merge(planned, level))
                order = np.argsort(labels, kind="stable")
                self._kept[key] = order[merge[labels[order]] == group]
        return self._kept[key]

    def channels(self, tensor: int, level: int, group: int) -> np.ndarray:
        """Finds the indices into the channel axis of ``tensor`` that node (level, group) holds."""
        parts, start, layout = [], 0, self.trace.layouts[tensor]
        for s, width in zip(layout.spaces, layout.widths, strict=True):
            members = self._space_members(s, level, group)
            parts.append(start + (members[:, None] * width + np.arange(width)).ravel())
            start += self.trace.spaces[s].size * width
        return np.concatenate(parts)

    def level_of(self, tensor: int) -> int:
        """Finds the level at which a tensor is made; the model's inputs belong to the trunk."""
        if tensor not in self.producers:
            return 0
        return self.plan.call_levels[self.graph.calls[self.producers[tensor]].name]

    # Building.

    def split(self, name: str) -> SplitTree:
        plan, tail = self.plan, self.plan.tail
        consumed = self._consumed()
        names = node_names(plan.groups)
        ends = make_inputs(self.graph, {*names.values(), TRUNK, HEAD})
        # (tensor, level, group of the reader) to the symbolic tensor that it reads.
        flow = self._run_node(
            TRUNK,
            0,
            0,
            {(t, 0, 0): x for t, x in ends.items()},
            consumed,
        )
        for level in range(1, tail):
            for group in range(plan.groups[level]):
                feeds = {k: x for k, x in flow.items() if k[1:] == (level, group)}
                flow.update(self._run_node(names[level, group], level, group, feeds, consumed))
        outputs = self._run_head({k: x for k, x in flow.items() if k[1] == tail})
        ends.update(zip(self.graph.outputs, outputs, strict=True))
        return SplitTree(finish_model(self.graph, ends, name))

    def _consumed(self) -> list[tuple[int, int]]:
        """Pairs (tensor, level of the reader), one for every tensor read above its own level."""
        pairs = {}
        for call in self.graph.calls:
            level = self.plan.call_levels[call.name]
            for t in call.inputs:
                if self.level_of(t) < level:
                    pairs[(t, level)] = None
        for t in self.graph.outputs:
            if self.level_of(t) < self.plan.tail:
                pairs[(t, self.plan.tail)] = None
        return list(pairs)

    def _inputs(self, tensors, level, group) -> list:
        made, names = [], set()
        for t in tensors:
            shape = list(self.graph.shapes[t])
            if level and shape[self.trace.layouts[t].axis] is not None:
                shape[self.trace.layouts[t].axis] = len(self.channels(t, level, group))
            name = unused(self._safe(t), names)
            made.append(keras.Input(batch_shape=shape, dtype=self.graph.dtypes[t], name=name))
        return made

    def _safe(self, tensor: int) -> str:
        if tensor in self.graph.inputs:
            return self.graph.input_names[self.graph.inputs.index(tensor)]
        return self.graph.names[tensor].replace("#", "_")

    def _run_node(self, name, level, group, feeds, consumed) -> dict:
        """Builds node (level, group) and calls it on ``feeds``; returns what it hands upwards."""
        read = list(feeds)
        inputs = self._inputs([t for t, _, _ in read], level, group)
        inside = {t: x for (t, _, _), x in zip(read, inputs, strict=True)}
        if level == 0:
            for t in self.graph.inputs:
                inside[t] = take_channels(
                    inside[t],
                    np.arange(self.trace.size(t)),
                    self.channels(t, 0, 0),
                    self.trace.layouts[t],
                )
        self._run_calls(name, level, group, inside)
        handed = {}
        for t, upper in consumed:
            if self.level_of(t) != level:
                continue
            here, layout = self.channels(t, level, group), self.trace.layouts[t]
            if upper == self.plan.tail:
                handed[(t, upper, (level, group))] = inside[t]
                continue
            below = merge_map(self.plan.groups, upper, level)
            for reader in range(self.plan.groups[upper]):
                if below[reader] == group:
                    wanted = self.channels(t, upper, reader)
                    handed[(t, upper, reader)] = take_channels(inside[t], here, wanted, layout)
        model = keras.Model(one_or_all(inputs), list(handed.values()), name=name)
        made = keras.tree.flatten(model(one_or_all(list(feeds.values()))))
        return dict(zip(handed, made, strict=True))

    def _run_calls(self, name, level, group, inside) -> None:
        run_calls(
            self.trace,
            [c for c in self.graph.calls if self.plan.call_levels[c.name] == level],
            lambda t: self.channels(t, level, group),
            inside,
            f"{name}_",
            self._settings,
        )

    def _settings(self, call: Call) -> dict:
        drops = isinstance(call.op, keras.layers.Dropout) and call.op.rate
        return {"rate": self.dropout} if drops and self.dropout is not None else {}

    def _run_head(self, flow) -> list:
        """Puts tensors of the branches together, in the original order, and runs the tail."""
        keys = list(flow)
        inputs, names = [], set()
        for t, _, (level, group) in keys:
            shape = list(self.graph.shapes[t])
            shape[self.trace.layouts[t].axis] = len(self.channels(t, level, group))
            # ``fc_1`` may be a layer, a second call, or group 1 of fc.
            name = unused(self._safe(t) + (f"_{group}" if level else ""), names)
            inputs.append(keras.Input(batch_shape=shape, dtype=self.graph.dtypes[t], name=name))
        inside = {}
        for t in dict.fromkeys(t for t, _, _ in keys):
            parts = [
                (x, self.channels(t, *where))
                for (u, _, where), x in zip(keys, inputs, strict=True)
                if u == t
            ]
            inside[t] = self._merge(t, parts)
        self._run_calls(HEAD, self.plan.tail, 0, inside)
        outputs = [inside[t] for t in self.graph.outputs]
        head = keras.Model(one_or_all(inputs), outputs, name=HEAD)
        return keras.tree.flatten(head(one_or_all(list(flow.values()))))

    def _merge(self, tensor, parts):
        axis = self.trace.layouts[tensor].axis
        if len(parts) == 1:
            joined = parts[0][0]
        else:
            joined = keras.layers.Concatenate(axis=axis, name=f"merge_{self._safe(tensor)}")(
                [x for x, _ in parts]
            )
        order = np.concatenate([channels for _, channels in parts])
        if np.array_equal(order, np.arange(len(order))):
            return joined
        return gather_channels(joined, np.argsort(order), axis)
