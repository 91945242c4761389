"""Accuracy, cross entropy and time against sums by hand."""

import numpy as np
import pytest

from splitnet_tf.errors import DataError
from splitnet_tf.training import evaluate, evaluation


def test_evaluation_against_sums_by_hand():
    logits = np.array([[3, 1, 0, 0, 0, 0], [0, 1, 2, 3, 4, 5], [9, 1, 0, 0, 0, 0]], "float32")
    labels = np.array([0, 0, 1])
    found = evaluate(lambda x: x, [(logits[:2], labels[:2]), (logits[2:], labels[2:])])
    assert (found.images, found.top1) == (3, pytest.approx(1 / 3))
    assert found.top5 == pytest.approx(2 / 3)
    p = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    assert found.cross_entropy == pytest.approx(-np.log(p[range(3), labels]).mean(), rel=1e-5)
    assert found.confusion.sum() == 3 and found.confusion[0, 5] == found.confusion[1, 0] == 1
    with pytest.raises(ValueError, match="one batch or more"):
        evaluate(lambda x: x, [])
    with pytest.raises(DataError, match="labels must be from 0 to 5.*-1 to 3"):
        evaluate(lambda x: x, [(logits[:2], np.array([-1, 3]))])


def test_equal_logits_and_logits_that_are_no_numbers_are_no_hits():
    labels = np.array([0, 3, 5, 9])
    flat = evaluate(lambda x: x, [(np.zeros((4, 10), "float32"), labels)])
    assert (flat.top1, flat.top5) == (0.25, 0.5)  # the first five indices are the first five
    bad = evaluate(lambda x: x * np.nan, [(np.zeros((4, 10), "float32"), labels)])
    assert (bad.top1, bad.top5) == (0.0, 0.0)


@pytest.fixture
def clock(monkeypatch):
    now = [100.0]
    monkeypatch.setattr(evaluation.time, "perf_counter", lambda: now[0])
    return now


def timed(clock, batches):
    """Evaluates batches of (images, seconds to read, seconds to compute)."""

    def read():
        for count, reading, _ in batches:
            clock[0] += reading
            yield np.zeros((count, 4), "float32"), np.zeros(count, int)

    computing = iter([seconds for _, _, seconds in batches])

    def forward(images):
        clock[0] += next(computing)
        return images

    return evaluate(forward, read()).seconds_per_image


def test_time_is_a_median_without_warm_up_and_without_reading(clock):
    """The first batch and the last, smaller one are traced; reading is never counted."""
    batches = [(10, 7.0, 90.0), (10, 3.0, 1.0), (10, 8.0, 2.0), (10, 1.0, 6.0), (5, 9.0, 80.0)]
    assert timed(clock, batches) == pytest.approx(0.2)


@pytest.mark.parametrize(("count", "seconds"), [(1, None), (2, 0.3)])
def test_time_of_few_batches(clock, count, seconds):
    """A second batch is all there is to go by; the first alone says nothing."""
    found = timed(clock, [(10, 1.0, 50.0), (10, 2.0, 3.0)][:count])
    assert found == (None if seconds is None else pytest.approx(seconds))
