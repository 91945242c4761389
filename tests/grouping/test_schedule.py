"""Strengths of the split losses, step by step."""

import numpy as np
import pytest

from splitnet_tf.grouping.schedule import closed_at, strength_at


def test_losses_set_in_after_the_warm_up_and_gamma1_grows():
    found = [strength_at(s, 2, 6, 16.0) for s in range(8)]
    assert found[:2] == [(0.0, 0.0, 0.0)] * 2
    np.testing.assert_allclose([s[0] for s in found[2:]], [1, 2, 4, 8, 16, 16])
    assert {s[1:] for s in found[2:]} == {(1.0, 1.0)}


@pytest.mark.parametrize("growth", [1.0, 20.0])
def test_without_time_to_grow_it_has_grown_at_once(growth):
    assert strength_at(3, 3, 3, growth) == (1.0, 1.0, 1.0)
    assert strength_at(4, 3, 3, growth) == (growth, 1.0, 1.0)


def test_r_d_sets_in_later_and_gates_close_meanwhile():
    found = [strength_at(s, 2, 6, 16.0, disjoint=4)[1] for s in range(7)]
    assert found == [0, 0, 0, 0, 1, 1, 1]
    assert [closed_at(s, 2, 6) for s in range(8)] == [0, 0, 0, 0.25, 0.5, 0.75, 1, 1]
    assert closed_at(3, 3, 3) == 0 and closed_at(4, 3, 3) == 1
