"""The grouped model of a plain model and a plan: same weights, split losses added."""

from __future__ import annotations

from collections.abc import Sequence

import keras

from splitnet_tf.errors import GroupingError, PlanError
from splitnet_tf.graph.copying import copy_layer, plain_layer, rebuild
from splitnet_tf.grouping.assignment import PREFIX, Assignment
from splitnet_tf.grouping.grouped_layers import GROUPED_TYPES, GatedKernel, GroupedKernel
from splitnet_tf.grouping.plan import SplitPlan
from splitnet_tf.grouping.planned import PlannedKernel
from splitnet_tf.grouping.split_losses import SplitLosses


def group_model(
    model: keras.Model,
    plan: SplitPlan | Sequence[tuple[str, int]],
    gamma1: float = 1.0,
    gamma2: float = 1.0,
    gamma3: float = 10.0,
    *,
    scaling: str = "unit",
    reduction: str = "mean",
    gates: bool = False,
    stddev: float = 0.01,
    seed: int | None = None,
) -> keras.Model:
    """Puts the split kernels of a model into layers that carry assignment variables.

    Args:
      model: plain functional ``keras.Model``, trained or not; it is left as it is.
      plan: ``SplitPlan`` of the model, or its sections: (layer or block, number of groups) from
        the bottom up.
      gamma1, gamma2, gamma3: float of 0 or more, weights of R_W, R_D and R_E. Default to 1, 1, 10.
      scaling: ``"unit"`` or ``"paper"``, see ``SplitLosses``. Defaults to ``"unit"``.
      reduction: ``"mean"`` or ``"weighted"``, see ``SplitLosses``. Defaults to ``"mean"``.
      gates: bool, whether the forward pass multiplies the split kernels by a block mask that closes
        while the groups are learned, so that the cross entropy reaches the assignments. For dense
        layers and convolutions. Defaults to False, the paper's form.
      stddev, seed: random start of the assignments, see ``Assignment``.

    Returns:
      A functional model with copies of the weights. ``model.losses`` after a call holds the
      three weighted split losses, to be added to the task's loss.

    Raises:
      PlanError: the plan was made for another model, or splits nothing; or gates for a layer that
        cannot have one.

    >>> net = sn.models.mlp((8,), num_classes=4, input_shape=(6,))
    >>> grouped = sn.group_model(net, [("logits", 2)])
    >>> tuple(grouped.get_layer("logits").p.shape)  # membership of its 8 inputs in 2 groups
    (2, 8)
    """
    if not isinstance(plan, SplitPlan):
        plan = SplitPlan.from_sections(model, plan)
    traced = plan.trace_of(model)
    if not plan.kernels:
        raise PlanError("The plan splits no kernel; give a section with 2 groups or more.")
    plan.classes  # noqa: B018, refuses what no grouping can be read from, before the training
    losses = SplitLosses(
        gamma1, gamma2, gamma3, scaling, reduction, plan.sections, gates, name="split_losses"
    )
    seeds = {s.name: None if seed is None else seed + i for i, s in enumerate(plan.spaces)}
    assignments = {
        s.name: Assignment(
            s.num_groups, s.size, stddev, seeds[s.name], name=f"{PREFIX}{_legal(s.name)}"
        )
        for s in plan.spaces
    }
    planned = {k.name: k for k in plan.kernels}

    def make(call):
        if call.name in planned:
            return _grouped(call, planned[call.name], plan, assignments, losses)
        return plain_layer(call)

    return rebuild(model.name, traced.graph, make)


def _grouped(call, kernel: PlannedKernel, plan, assignments, losses):
    grouped_type = next((g for s, g in GROUPED_TYPES.items() if isinstance(call.op, s)), None)
    if grouped_type is None:
        raise PlanError(
            f"Layer '{call.name}' ({type(call.op).__name__}) has a kernel rule but no grouped "
            "layer; start the sections above it."
        )
    if losses.gates and not issubclass(grouped_type, GatedKernel):
        raise PlanError(
            f"Layer '{call.name}' ({type(call.op).__name__}) cannot have a gate; start the "
            "sections above it, or leave out `gates`."
        )
    sides = {}
    for side, names, widths in (
        ("in", kernel.in_spaces, kernel.in_widths),
        ("out", kernel.out_spaces, kernel.out_widths),
    ):
        unique = list(dict.fromkeys(names))
        sides[f"{side}_assignments"] = [assignments[n] for n in unique]
        sides[f"{side}_layout"] = [unique.index(n) for n in names]
        sides[f"{side}_widths"] = widths
        sides[f"{side}_merges"] = [plan.merge(plan.space(n), kernel.level) for n in unique]
    sides.update(call.overrides, num_groups=kernel.num_groups, split_losses=losses)
    return copy_layer(call.op, call.layer_name, sides, grouped_type)


def plan_of(grouped: keras.Model) -> SplitPlan:
    """Plans a grouped model's split as it was planned when it was grouped.

    Args:
      grouped: from ``group_model``, or loaded from its file.

    Raises:
      GroupingError: the model has no grouped layers.

    >>> net = sn.models.mlp((8,), num_classes=4, input_shape=(6,))
    >>> sn.plan_of(sn.group_model(net, [("logits", 2)])).sections
    (('logits', 2),)
    """
    return SplitPlan.from_sections(grouped, split_losses(grouped).sections)


def _legal(name: str) -> str:
    return "".join(c if c.isalnum() or c in "_-" else "_" for c in name).strip("_")


def split_losses(grouped: keras.Model) -> SplitLosses:
    """Finds the ``SplitLosses`` layer of a grouped model.

    Raises:
      GroupingError: the model has no grouped layers.

    >>> net = sn.models.mlp((8,), num_classes=4, input_shape=(6,))
    >>> grouped = sn.group_model(net, [("logits", 2)])
    >>> sorted(sn.split_losses(grouped).terms())
    ['balance', 'disjointness', 'group_weight']
    """
    for layer in grouped.layers:
        if isinstance(layer, GroupedKernel):
            return layer.split_losses
    raise GroupingError(
        f"Model '{grouped.name}' has no grouped layers; make one with splitnet_tf.group_model."
    )
