"""Batches from arrays, tf.data and PyDataset: the same examples, in an order of the step alone."""

import itertools

import keras
import numpy as np
import pytest
import tensorflow as tf

from splitnet_tf.data.feeds import feed_of
from splitnet_tf.errors import ArgumentError, DataError

X = np.arange(20, dtype="float32")[:, None]
Y = np.arange(20) % 3


class Batches(keras.utils.PyDataset):
    """Five batches of four."""

    def __len__(self):
        return 5

    def __getitem__(self, k):
        return X[4 * k : 4 * k + 4], Y[4 * k : 4 * k + 4]


def sources():
    return {
        "arrays": lambda: feed_of((X, Y), batch_size=4, seed=3),
        "dataset": lambda: feed_of(tf.data.Dataset.from_tensor_slices((X, Y)).batch(4)),
        "pydataset": lambda: feed_of(Batches(), seed=3),
    }


def taken(batches, count):
    return [
        tuple(np.asarray(part) for part in batch)
        for batch in itertools.islice(iter(batches), count)
    ]


@pytest.mark.parametrize("kind", sources())
def test_an_epoch_has_every_example_once_with_its_label(kind):
    feed = sources()[kind]()
    assert feed.steps_per_epoch == 5
    for start in (0, 5):
        epoch = taken(feed.training(start), 5)
        x, y = (np.concatenate(parts) for parts in zip(*epoch, strict=True))
        assert sorted(x[:, 0]) == list(range(20))
        np.testing.assert_array_equal(y, x[:, 0].astype(int) % 3)
    x, y = (np.concatenate(parts) for parts in zip(*taken(feed.evaluation(), 99), strict=True))
    np.testing.assert_array_equal(x, X)
    np.testing.assert_array_equal(y, Y)


@pytest.mark.parametrize("kind", sources())
def test_training_goes_on_at_any_step_as_if_it_had_not_stopped(kind):
    whole = taken(sources()[kind]().training(), 12)
    rest = taken(sources()[kind]().training(7), 5)
    for one, other in zip(whole[7:], rest, strict=True):
        for a, b in zip(one, other, strict=True):
            np.testing.assert_array_equal(a, b)


def test_arrays_are_in_another_order_each_epoch_and_by_each_seed():
    def order(seed, start):
        return np.concatenate(
            [b[0][:, 0] for b in taken(feed_of((X, Y), 4, seed).training(start), 5)]
        )

    assert not np.array_equal(order(3, 0), order(3, 5))
    assert not np.array_equal(order(3, 0), order(4, 0))


def test_nested_inputs_and_sample_weights():
    weights = np.linspace(0, 1, 20).astype("float32")
    feed = feed_of(({"a": X, "b": [X, 2 * X]}, Y, weights), batch_size=5)
    x, _, w = next(iter(feed.training()))
    np.testing.assert_allclose(np.asarray(x["b"][1]), 2 * np.asarray(x["a"]))
    np.testing.assert_allclose(np.asarray(w), np.asarray(x["a"])[:, 0] / 19, atol=1e-6)
    inputs = list(feed.inputs(1))
    assert len(inputs) == 1 and inputs[0].keys() == {"a", "b"}


@pytest.mark.parametrize("one_hot", [False, True])
@pytest.mark.parametrize("weighted", [False, True])
def test_class_weights_multiply_the_sample_weights_in_training_alone(one_hot, weighted):
    labels = np.eye(3, dtype="float32")[Y] if one_hot else Y
    own = (np.arange(20) + 1).astype("float32")
    data = (X, labels, own) if weighted else (X, labels)
    feed = feed_of(data, batch_size=4, class_weight={0: 2.0, 1: 0.5})
    for x, _, w in taken(feed.training(), 5):
        index = x[:, 0].astype(int)
        expected = np.array([2.0, 0.5, 1.0])[index % 3] * (own[index] if weighted else 1)
        np.testing.assert_allclose(w, expected)
    assert len(next(iter(feed.evaluation()))) == len(data)


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        ((X, Y[:3]), "must have one length; got \\[3, 20\\]"),
        ((X[:0], Y[:0]), "must have one example or more"),
        (X, "Data must be arrays"),
        ("cifar100", "got str"),
        (tf.data.Dataset.from_tensors((X, Y)).repeat(), "cardinality is -1"),
        (tf.data.Dataset.from_tensors((X, Y)).filter(lambda x, y: True), "cardinality is -2"),
    ],
)
def test_what_is_not_data_is_refused(data, sentence):
    with pytest.raises(DataError, match=sentence):
        feed_of(data, batch_size=4)


def test_a_few_arrays_serve_for_evaluation_but_not_for_larger_training_batches():
    feed = feed_of((X[:3], Y[:3]), batch_size=4)
    assert [len(x) for x, _ in feed.evaluation(2)] == [2, 1]
    with pytest.raises(DataError, match="`batch_size` must be from 1 to the 3 examples; got 4"):
        _ = feed.steps_per_epoch


@pytest.mark.parametrize("weights", [{-1: 1.0}, {0: -1.0}, {0.5: 1.0}, {0: float("inf")}])
def test_class_weights_that_cannot_be_are_refused(weights):
    with pytest.raises(ArgumentError, match="`class_weight`"):
        feed_of((X, Y), batch_size=4, class_weight=weights)
