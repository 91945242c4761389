"""All of it on handwritten digits: plain, sparse, shrunk, finetuned."""

import keras
import numpy as np
import pytest

import splitnet_tf as sn
from splitnet_tf.data import load_digits
from splitnet_tf.sparsity import keep_zeros, random_like, shrink_model, step_of
from tests.conftest import to_numpy
from tests.sparsity.zeros import difference


@pytest.fixture(scope="module")
def digits():
    data = load_digits()
    return [(s.images / 64.0, s.labels) for s in (data.train, data.valid, data.test)]


def accuracy(model, split):
    images, labels = split
    return float(np.mean(to_numpy(model(images)).argmax(axis=1) == labels))


def train(model, split, epochs, rate, after_step=None):
    schedule = keras.optimizers.schedules.CosineDecay(rate, epochs * 20)
    optimizer = sn.SGD(schedule, momentum=0.9, after_step=after_step)
    model.compile(optimizer, sn.CrossEntropy())
    model.fit(*split, epochs=epochs, batch_size=64, verbose=0)


def test_a_network_of_digits_becomes_small(digits):
    keras.utils.set_random_seed(0)
    train_split, _, test_split = digits
    model = sn.models.build("mlp-64-48-32-10", input_shape=(8, 8, 1))
    train(model, train_split, 10, 0.1)
    plan = sn.SparsityPlan(spaces=0.2, channels={"fc1": 0.1})
    sparse = sn.sparse_model(model, plan)
    train(sparse, train_split, 15, 0.1, step_of(sparse, plan))
    shrunk = shrink_model(sparse, gather=True)
    kept = [len(s.indices) for s in shrunk.selection.spaces]
    inputs = len(shrunk.selection.columns[0].indices)
    assert kept[0] <= 30 and kept[1] <= 20 and inputs < 64, shrunk.changes
    assert difference(sparse, shrunk.model, count=50) <= 1e-5
    assert accuracy(sparse, test_split) == accuracy(shrunk.model, test_split)
    train(shrunk.model, train_split, 5, 0.02, keep_zeros(shrunk.model))
    found = accuracy(shrunk.model, test_split)
    assert found >= 0.93 and found >= accuracy(model, test_split) - 0.03
    # As many channels at random, without a step of training, are no network at all.
    control = sn.plain_copy(model)
    chosen = random_like(control, shrunk.selection)
    sn.apply_selection(control, chosen)
    assert accuracy(shrink_model(control, chosen).model, test_split) < found
