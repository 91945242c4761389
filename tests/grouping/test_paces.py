"""Which gradients are scaled while grouping."""

import numpy as np

import splitnet_tf as sn
from splitnet_tf.grouping import split_losses
from splitnet_tf.grouping.paces import paces
from tests.conftest import small_alexnet


def test_assignments_and_the_split_part_have_a_pace_of_their_own():
    model = small_alexnet()
    plan = sn.SplitPlan.from_sections(model, [("fc6", 2), ("fc7", 4)])
    grouped = sn.group_model(model, plan)
    losses = split_losses(grouped)
    still = losses.assignments()[:1]
    scales = paces(losses, 8.0, still, 10.0)
    found = {w.path: scales.get(id(w), 1.0) for w in grouped.trainable_weights}
    logits = [a.logits.path for a in losses.assignments()]
    assert [found.pop(p) for p in logits] == [0.0] + [8.0] * (len(logits) - 1)
    split = {k.name for k in plan.kernels}
    assert {"fc7", "fc8"} <= split < {x.name for x in model.layers}
    for path, scale in found.items():
        assert scale == (10.0 if path.split("/")[-2] in split else 1.0), path
    assert sorted({p.split("/")[-1] for p, s in found.items() if s == 10}) == ["bias", "kernel"]
    usual = paces(losses, 1.0)
    assert np.all([usual.get(id(w), 1.0) == 1.0 for w in grouped.trainable_weights])
