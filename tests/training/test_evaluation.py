"""Accuracy, cross entropy and time against sums by hand."""

import keras
import numpy as np
import pytest
from scipy.special import expit, log_softmax

from splitnet_tf.errors import DataError
from splitnet_tf.recipe import BinaryCrossEntropy, CrossEntropy, HeadLosses
from splitnet_tf.training import evaluate, evaluation, evaluator


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


def test_one_hot_and_column_labels_are_those_of_numbers():
    logits = np.random.default_rng(0).normal(size=(7, 5)).astype("float32")
    labels = np.array([0, 3, 1, 1, 2, 4, 4])
    expected = evaluate(lambda x: x, [(logits, labels)])
    for other in (labels[:, None], np.eye(5, dtype="float32")[labels]):
        found = evaluate(lambda x: x, [(logits, other)])
        assert (found.top1, found.top5) == (expected.top1, expected.top5)
        assert found.cross_entropy == pytest.approx(expected.cross_entropy, rel=1e-6)
        np.testing.assert_array_equal(found.confusion, expected.confusion)
    soft = np.full((7, 5), 0.2, "float32")
    found = evaluate(lambda x: x, [(logits, soft)]).cross_entropy
    assert found == pytest.approx(-log_softmax(logits, axis=1).mean(), rel=1e-5)


def test_several_classes_an_example():
    logits = np.array([[2.0, -1.0, 0.5], [-3.0, 100.0, -100.0]], "float32")
    labels = np.array([[1, 1, 0], [0, 1, 0]])
    found = evaluate(lambda x: x, [(logits, labels)], multi_label=True)
    assert found.top1 == pytest.approx(4 / 6) and found.top5 is None and found.confusion is None
    p = expit(logits.astype("float64"))
    expected = -np.mean(np.log(np.where(labels == 1, p, 1 - p)))
    assert found.cross_entropy == pytest.approx(expected, rel=1e-5)
    for wrong in (labels[:, :2], labels * 2):
        with pytest.raises(DataError, match="labels must be 0 or 1 for each of 3 classes of 2"):
            evaluate(lambda x: x, [(logits, wrong)], multi_label=True)


@pytest.mark.parametrize("as_dict", [True, False])
def test_of_several_outputs_the_main_one_is_evaluated(as_dict):
    rng = np.random.default_rng(0)
    inputs = keras.Input((5,))
    heads = {n: keras.layers.Dense(4, name=n)(inputs) for n in ("one", "two")}
    model = keras.Model(inputs, heads if as_dict else list(heads.values()))
    images = rng.normal(size=(6, 5)).astype("float32")
    labels, several = rng.integers(0, 4, 6), rng.integers(0, 2, (6, 4))
    y = {"one": labels, "two": several} if as_dict else [labels, several]
    losses = {"one": CrossEntropy(), "two": BinaryCrossEntropy()}
    batches = [(images, y, np.zeros(6))]  # sample weights do not count
    outputs = model(images)
    one, two = (outputs[n] for n in heads) if as_dict else outputs
    found = evaluator(model, HeadLosses(losses, "one"))(batches)
    assert found.top1 == np.mean(one.numpy().argmax(axis=1) == labels)
    assert found.cross_entropy == pytest.approx(float(losses["one"](labels, one)), rel=1e-5)
    found = evaluator(model, HeadLosses(losses, "two"))(batches)
    assert found.top1 == pytest.approx(np.mean((two.numpy() > 0) == several))
    assert found.cross_entropy == pytest.approx(float(losses["two"](several, two)), rel=1e-5)


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
