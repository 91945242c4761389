"""Agreement with superclasses, against entropies and counts by hand."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from splitnet_tf.analysis import agreement
from splitnet_tf.analysis.agreement import contingency

PAIRS = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 4)), min_size=2, max_size=30)


def test_scores_by_hand():
    labels = np.array([0, 0, 0, 1, 1, 1])
    superclasses = np.array([0, 0, 1, 1, 2, 2])
    found = agreement(labels, superclasses, draws=3)
    assert contingency(labels, superclasses).tolist() == [[2, 0], [1, 1], [0, 2]]
    assert found.purity == pytest.approx(4 / 6)
    assert found.together == pytest.approx(5 / 6)
    # Information of the table: all of a superclass, but for the second, which is split evenly.
    assert found.nmi == pytest.approx(2 * (math.log(2) * 2 / 3) / (math.log(2) + math.log(3)))
    assert found.most_nmi == pytest.approx(2 * math.log(2) / (math.log(2) + math.log(3)))


@given(PAIRS)
def test_nothing_exceeds_what_it_can_reach(pairs):
    labels, superclasses = np.array(pairs).T
    found = agreement(labels, superclasses, draws=5)
    assert found.nmi <= found.most_nmi + 1e-9
    assert 0 < found.purity <= 1
    for score in (found.random_purity, found.random_nmi):
        assert score <= 1 + 1e-9


def test_the_same_partition_agrees_and_random_ones_do_not():
    superclasses = np.repeat(np.arange(5), 8)
    found = agreement(4 - superclasses, superclasses)
    assert (found.nmi, found.ari, found.purity, found.most_nmi) == pytest.approx((1, 1, 1, 1))
    assert abs(found.random_ari) < 0.02 and found.random_ari_std < 0.06
    assert found.random_nmi < 0.4 and found.random_purity < 0.5
