"""Spaces joined and split by hand."""

import pytest

from splitnet_tf.errors import PlanError
from splitnet_tf.graph.spaces import Layout, SpaceBook


def test_unifying_gives_the_earlier_name():
    book = SpaceBook()
    a, b = book.new("a", 4), book.new("b", 4)
    book.unify((a,), (b,), "add")
    layouts, spaces = book.final({0: Layout(1, (b,)), 1: Layout(1, (a,))})
    assert layouts[0] == layouts[1]
    assert [(s.name, s.size) for s in spaces] == [("a", 4)]


def test_a_sum_with_a_concatenation_splits_the_wide_space():
    book = SpaceBook()
    a, b, c = book.new("a", 3), book.new("b", 5), book.new("c", 8)
    book.unify((a, b), (c,), "add")
    layouts, spaces = book.final({0: Layout(1, (a, b)), 1: Layout(1, (c,)), 2: Layout(1, (b,))})
    assert layouts[0].spaces == layouts[1].spaces == (0, 1)
    assert layouts[2].spaces == (1,)
    assert [s.size for s in spaces] == [3, 5]


def test_crossed_concatenations_are_refined_until_they_agree():
    book = SpaceBook()
    a, b = book.new("a", 4), book.new("b", 6)
    book.unify((a, b), (b, a), "add")
    layouts, spaces = book.final({0: Layout(1, (a, b)), 1: Layout(1, (b, a))})
    assert layouts[0].spaces == layouts[1].spaces
    assert {s.size for s in spaces} == {2}


def test_unequal_sizes_are_refused():
    book = SpaceBook()
    with pytest.raises(PlanError, match="'add' joins 4 channels with 5"):
        book.unify((book.new("a", 4),), (book.new("b", 5),), "add")
