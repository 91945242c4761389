"""What is watched of groupings while they form, and the warnings with a remedy."""

from types import SimpleNamespace

import numpy as np
import pytest

import splitnet_tf as sn
from splitnet_tf.grouping.watch import GroupingWatch
from tests.conftest import scramble, to_numpy


class Space:
    """An assignment whose memberships are set by hand."""

    def __init__(self, name, p):
        self.space = name
        self.value = np.asarray(p, "float32")

    def p(self):
        return self.value


def watch(*spaces, max_steps=None):
    kernel = np.arange(1.0, 5.0).reshape(2, 2)
    layer = SimpleNamespace(
        name="fc",
        effective=lambda: kernel,
        in_groups=lambda labels: np.array([0, 1]),
        out_groups=lambda labels: np.array([1, 0]),
    )
    losses = SimpleNamespace(
        terms=lambda: {"group_weight": 0.5},
        assignments=lambda: spaces,
        grouped_layers=lambda: (layer,),
    )
    return GroupingWatch(losses, max_steps)


def sure(labels, largest=0.99):
    """p of two groups: each channel's own group has ``largest``."""
    own = np.eye(2)[:, labels]
    return largest * own + (1 - largest) * (1 - own)


def test_scalars_by_hand():
    spaces = Space("low", [[0.95, 0.6, 0.2], [0.05, 0.4, 0.8]]), Space("logits", sure([1, 1]))
    found = watch(*spaces).scalars()
    assert found.pop("largest_p/low") == pytest.approx((0.95 + 0.6 + 0.8) / 3)
    assert found.pop("largest_p/logits") == pytest.approx(0.99)
    # Off the blocks of [[1, 2], [3, 4]] with the second side's groups turned: 1 and 4.
    share = pytest.approx((1 + 16) / 30)
    assert found.pop("split/off_block_energy") == found.pop("off_block/fc") == share
    assert found == {
        "split/group_weight": 0.5,
        "split/decided": 3 / 5,
        "group_size/low/0": 2,
        "group_size/low/1": 1,
        "group_size/logits/0": 0,
        "group_size/logits/1": 2,
    }


def test_off_block_shares_are_those_of_the_cut():
    """Also where the largest merged p is not that of the group of the largest p."""
    model = scramble(sn.models.mlp((8, 24), 8, (5,)))
    grouped = sn.group_model(model, [("fc2", 2), ("logits", 4)], seed=0)
    losses = sn.split_losses(grouped)
    fc2 = losses.grouped_layers()[0]
    rng = np.random.default_rng(0)
    for space in losses.assignments():
        own = np.eye(space.num_groups)[:, np.arange(space.size) % space.num_groups]
        space.logits.assign(np.where(own, 1, rng.choice([-9, 0.9], own.shape)))
    labels = {id(a): to_numpy(a.p()).argmax(axis=0) for a in losses.assignments()}
    assert (to_numpy(fc2.q).argmax(axis=0) != fc2.out_groups(labels)).any()
    found = GroupingWatch(losses).off_block_shares()
    assert found == sn.off_block_energy(grouped, sn.read_grouping(grouped))
    assert all(0.1 < share < 0.9 for share in found.values())


def test_a_group_that_empties_is_warned_of_once_for_each_state():
    low, logits = Space("low", sure([0, 1, 0, 1])), Space("logits", sure([0, 1, 1]))
    watched = watch(low, logits)
    assert watched.warnings(1) == []
    # One of nine channels is 2 / 9 of an even share.
    low.value = sure([0] * 8 + [1], 1.0)
    emptying = "Group 1 of low is emptying (1 of 9 channels): raise `gamma3`."
    assert watched.warnings(2) == [emptying]
    assert watched.warnings(3) == []
    low.value = sure([0] * 9, 0.6)  # no channel, though 0.8 of an even share
    logits.value = sure([1, 1, 1])
    assert watched.warnings(4) == [
        "Group 1 of low is empty (0 of 9 channels): raise `gamma3`.",
        "Group 0 of logits is empty (0 of 3 channels): raise `gamma3`.",
    ]
    assert watched.warnings(5) == []


def test_a_quarter_of_an_even_share_is_no_warning():
    assert watch(Space("low", sure([0] * 7 + [1], 1.0))).warnings(1) == []


def test_assignments_that_stay_undecided_are_warned_of_late_and_once():
    low, logits = Space("low", sure([0, 1, 0, 1], 0.8)), Space("logits", sure([0, 1], 0.95))
    watched = watch(low, logits, max_steps=100)
    assert watched.warnings(79) == []
    assert watched.warnings(80) == [
        "The assignments of low are undecided (mean largest p 0.80) after 80% of the steps: "
        "raise `pace`."
    ]
    assert watched.warnings(81) == []
    logits.value = sure([0, 1], 0.6)
    (sentence,) = watched.warnings(82)
    assert sentence.startswith("The assignments of logits are undecided (mean largest p 0.60)")


def test_nobody_knows_what_is_late_in_a_run_of_unknown_length():
    assert watch(Space("low", sure([0, 1], 0.6))).warnings(10**6) == []
