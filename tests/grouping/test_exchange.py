"""The exchange start: R_W falls, groups stay equal, planted blocks come out."""

import numpy as np
import pytest

from splitnet_tf import models
from splitnet_tf.grouping import group_model, split_losses, start_from_clusters
from splitnet_tf.grouping.exchange import energy_shared, exchange_groups, hard_group_weight
from tests.conftest import to_numpy


def network(sections, width=12, classes=8):
    net = models.mlp((width, width), num_classes=classes, input_shape=(6,))
    grouped = group_model(net, sections)
    losses = split_losses(grouped)
    return grouped, losses, {a.space: a for a in losses.assignments()}


def plant(losses, labels, outside=0.1):
    """Gives kernels weights of 1 inside the blocks of labels and less outside."""
    for layer in losses.grouped_layers():
        rows, columns = layer.in_groups(labels), layer.out_groups(labels)
        kernel = np.where(rows[:, None] == columns[None], 1.0, outside)
        layer.kernel.assign(kernel.astype("float32"))


def reference(kernel, rows, columns, groups):
    """R_W of hard groups (equation 4) by loops, in the scaling of the unit."""
    inputs, outputs = kernel.shape
    row = column = 0.0
    for g in range(groups):
        row += sum(np.linalg.norm(kernel[i, columns == g]) for i in range(inputs) if rows[i] != g)
        column += sum(
            np.linalg.norm(kernel[rows == g, j]) for j in range(outputs) if columns[j] != g
        )
    unit = 2 * (groups - 1) / groups * np.sqrt(1 / inputs)
    found = row / (inputs * np.sqrt(outputs)) + column / (np.sqrt(inputs) * outputs)
    return found / unit


@pytest.mark.parametrize("sections", [[("fc2", 2)], [("fc2", 2), ("logits", 4)]])
def test_exchange_lowers_r_w_and_keeps_groups_equal(sections):
    _, losses, spaces = network(sections)
    rng = np.random.default_rng(3)
    for layer in losses.grouped_layers():
        layer.kernel.assign(rng.normal(size=layer.kernel.shape))
    start = {id(a): rng.permutation(np.arange(a.size) % a.num_groups) for a in spaces.values()}
    layers = losses.grouped_layers()
    found = exchange_groups(layers, start)
    values = []
    for labels in (start, found):
        values.append(hard_group_weight(layers, labels))
        expected = [
            reference(to_numpy(x.kernel), x.in_groups(labels), x.out_groups(labels), x.num_groups)
            for x in layers
        ]
        assert values[-1] == pytest.approx(np.mean(expected), rel=1e-5)
    assert values[1] < 0.98 * values[0]
    for a in spaces.values():
        assert np.ptp(np.bincount(found[id(a)], minlength=a.num_groups)) <= 1
    again = exchange_groups(layers, found)
    assert all(np.array_equal(again[key], found[key]) for key in found)


def test_planted_blocks_come_out_of_a_start_with_faults():
    _, losses, spaces = network([("fc2", 2)])
    planted = {id(a): np.arange(a.size) % 2 for a in spaces.values()}
    plant(losses, planted)
    start = {key: own.copy() for key, own in planted.items()}
    for own in start.values():
        own[:2] = own[:2][::-1]  # two members of each space change places
    found = exchange_groups(losses.grouped_layers(), start)
    assert all(np.array_equal(found[key], planted[key]) for key in planted)


def test_energy_is_that_between_members_and_groups():
    _, losses, spaces = network([("fc2", 2)])
    rng = np.random.default_rng(1)
    for layer in losses.grouped_layers():
        layer.kernel.assign(rng.normal(size=layer.kernel.shape))
    labels = {id(a): np.arange(a.size) % 2 for a in spaces.values()}
    first, second = losses.grouped_layers()
    found = energy_shared(spaces["fc2"], losses.grouped_layers(), labels)
    expected = np.zeros((12, 2))
    below, above = (np.square(to_numpy(x.kernel)) for x in (first, second))
    for g in range(2):
        expected[:, g] += below[labels[id(spaces["fc1"])] == g].sum(axis=0) / below.sum()
        expected[:, g] += above[:, np.arange(8) % 2 == g].sum(axis=1) / above.sum()
    np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_a_start_by_exchange_has_less_r_w_than_clusters():
    grouped, losses, spaces = network([("fc2", 2), ("logits", 4)])
    rng = np.random.default_rng(5)
    for layer in losses.grouped_layers():
        layer.kernel.assign(rng.normal(size=layer.kernel.shape))
    values = []
    for exchange in (False, True):
        found = start_from_clusters(grouped, exchange=exchange)
        labels = {id(a): found[a.name] for a in spaces.values()}
        values.append(hard_group_weight(losses.grouped_layers(), labels))
        for a in spaces.values():
            assert np.array_equal(to_numpy(a.p()).argmax(axis=0), found[a.name])
    assert values[1] < values[0]
