"""When the group program draws its pictures."""

from types import SimpleNamespace

import pytest

from splitnet_tf.cli import group


@pytest.mark.parametrize(
    ("interval", "drawn"),
    [
        (0, [50, 100]),  # every fifth evaluation
        (1, [10, 20, 30, 40, 50, 60, 70, 80, 90, 100, 104]),
        (10, [10, 20, 30, 40, 50, 60, 70, 80, 90, 100]),
        (25, [30, 50, 80, 100]),  # at the first evaluation from then on
        (52, [60, 104]),
        (5000, []),
    ],
)
def test_pictures_are_drawn_at_the_evaluations_that_their_steps_reach(monkeypatch, interval, drawn):
    monkeypatch.setattr(group, "FLAGS", SimpleNamespace(group_summary_interval=interval))
    found = []
    pictures = SimpleNamespace(write=lambda step, writer: found.append(step))
    summarize = group._watching(None, pictures, warmup=1000, val_interval=10)
    for step in (*range(10, 101, 10), 104):  # and one at the end
        summarize(step, None)
    assert found == drawn
