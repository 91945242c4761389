"""Hard assignment and reading a grouping."""

import logging

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import splitnet_tf as sn
from splitnet_tf.grouping import hard_labels
from splitnet_tf.splitting import mask_off_blocks, off_block_energy
from tests.conftest import random_grouping, small_alexnet, to_numpy


@given(st.integers(2, 5), st.integers(5, 30), st.integers(0, 10**6))
def test_balanced_sizes_differ_by_at_most_one(groups, size, seed):
    p = np.random.default_rng(seed).random((groups, size))
    sizes = np.bincount(hard_labels(p, "balanced"), minlength=groups)
    assert sizes.max() - sizes.min() <= 1
    np.testing.assert_array_equal(hard_labels(p, "argmax"), p.argmax(axis=0))


def grouped_net(sections):
    model = small_alexnet()
    plan = sn.SplitPlan.from_sections(model, sections)
    return plan, sn.group_model(model, plan, seed=0)


def test_a_grouping_is_read_from_the_variables():
    plan, grouped = grouped_net([("fc7", 2), ("fc8", 3)])
    wanted = random_grouping(plan, np.random.default_rng(0))
    for assignment in sn.split_losses(grouped).assignments():
        name = assignment.name.removeprefix("space_")
        assignment.assign(wanted.space(name).labels())
    names = [f"class{i}" for i in range(9)]
    found = sn.read_grouping(grouped, class_names=names)
    assert {s.name: s.members for s in found.spaces} == {s.name: s.members for s in wanted.spaces}
    members = wanted.classes.members
    assert found.class_groups() == [[names[i] for i in group] for group in members]


def test_an_empty_group_is_named_with_the_remedy():
    _, grouped = grouped_net([("fc8", 2)])
    for assignment in sn.split_losses(grouped).assignments():
        assignment.logits.assign(np.zeros(assignment.logits.shape))
    with pytest.raises(sn.GroupingError, match=r"Group 1 of space 'fc7' is empty .*raise `gamma3`"):
        sn.read_grouping(grouped)
    assert sn.read_grouping(grouped, "balanced").classes.num_groups == 2
    with pytest.raises(sn.GroupingError, match="`method` must be one of argmax, balanced"):
        sn.read_grouping(grouped, "best")


@pytest.mark.parametrize("method", ["argmax", "balanced"])
def test_assignments_that_are_not_finite_are_named(method):
    _, grouped = grouped_net([("fc8", 2)])
    logits = sn.split_losses(grouped).assignments()[0].logits
    values = to_numpy(logits).copy()
    values[0, 3] = np.nan
    logits.assign(values)
    with pytest.raises(sn.GroupingError, match="assignments of space 'fc7' are not finite"):
        sn.read_grouping(grouped, method)


def test_off_block_energy_is_what_masking_takes():
    plan, grouped = grouped_net([("fc7", 2)])
    grouping = random_grouping(plan, np.random.default_rng(0))
    kernel = grouped.get_layer("fc7").kernel
    before = np.square(np.array(kernel)).sum()
    share = off_block_energy(grouped, grouping, plan)["fc7"]
    mask_off_blocks(grouped, grouping, plan)
    after = np.square(np.array(kernel)).sum()
    assert 0.2 < share < 0.8
    assert share == pytest.approx(1 - after / before, rel=1e-5)
    assert off_block_energy(grouped, grouping, plan)["fc7"] == 0


def test_the_energy_that_a_cut_takes_away_is_told(caplog):
    caplog.set_level(logging.INFO)
    plan, grouped = grouped_net([("fc7", 2)])
    grouping = sn.read_grouping(grouped, "balanced")
    shares = off_block_energy(grouped, grouping)
    worst = max(shares, key=shares.__getitem__)
    told = [r for r in caplog.records if "takes away" in r.message]
    assert [r.levelname for r in told] == ["WARNING"]
    assert f"{100 * shares[worst]:.2g}% of '{worst}', the most" in told[0].message
    sn.split_model(grouped, grouping)
    assert len([r for r in caplog.records if "takes away" in r.message]) == 2
    caplog.clear()
    mask_off_blocks(grouped, grouping, plan)
    sn.split_model(grouped, grouping)
    (told,) = [r for r in caplog.records if "takes away" in r.message]
    assert told.levelname == "INFO" and "takes away 0% of" in told.message
    caplog.clear()
    sn.split_model(small_alexnet(), sn.Grouping.even(plan))  # of a plain model nothing was learned
    assert not [r for r in caplog.records if "takes away" in r.message]
