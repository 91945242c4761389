"""Gates: open they change nothing, closed they leave the blocks; the cross entropy moves them."""

import keras
import numpy as np
import pytest
from keras import ops

from splitnet_tf import models
from splitnet_tf.errors import PlanError
from splitnet_tf.graph import plain_copy
from splitnet_tf.grouping import (
    group_model,
    mask_off_blocks,
    read_grouping,
    split_losses,
    start_from_clusters,
)
from splitnet_tf.grouping.callbacks import GroupingSchedule
from splitnet_tf.grouping.gates import fold_gates, gate_of
from splitnet_tf.grouping.watch import GroupingWatch
from tests.conftest import to_numpy

SECTIONS = [("unit_2_0", 2), ("logits", 4)]


@pytest.fixture
def images():
    return np.random.default_rng(0).normal(size=(6, 8, 8, 3)).astype("float32")


@pytest.fixture
def plain():
    keras.utils.set_random_seed(1)
    return models.wide_resnet(10, 0.5, 8, (8, 8, 3))


def outputs(model, images):
    return to_numpy(model(images, training=False))


def test_a_gate_is_as_numpy_computes_it():
    rng = np.random.default_rng(0)
    p, q = (ops.softmax(rng.normal(size=(3, n)).astype("float32"), axis=0) for n in (4, 5))
    hard = [np.eye(3, dtype="float32")[:, to_numpy(x).argmax(axis=0)] for x in (p, q)]
    inside = hard[0].T @ hard[1]
    for closed in (0.0, 0.25, 1.0):
        found = to_numpy(gate_of(p, q, *hard, np.float32(closed)))
        soft = to_numpy(p).T @ to_numpy(q)
        mask = (1 - closed) * soft + closed * inside
        np.testing.assert_allclose(found, 1 - closed * (1 - mask), atol=1e-6)


def test_open_gates_change_nothing_and_closed_ones_leave_the_blocks(plain, images):
    grouped = group_model(plain, SECTIONS, gates=True)
    start_from_clusters(grouped, largest_p=0.6)
    losses = split_losses(grouped)
    np.testing.assert_array_equal(outputs(grouped, images), outputs(plain, images))
    losses.closed.assign(1.0)
    masked = plain_copy(grouped)
    mask_off_blocks(masked, read_grouping(grouped))
    closed = outputs(grouped, images)
    assert np.abs(closed - outputs(plain, images)).max() > 1e-3
    np.testing.assert_allclose(closed, outputs(masked, images), atol=1e-6)
    assert GroupingWatch(losses).off_block_energy() == 0


def test_gates_are_kept_in_a_file_and_folded_into_the_kernels(plain, images, tmp_path):
    grouped = group_model(plain, SECTIONS, gates=True)
    start_from_clusters(grouped, largest_p=0.7)
    losses = split_losses(grouped)
    losses.closed.assign(0.5)
    half = outputs(grouped, images)
    grouped.save(tmp_path / "grouped.keras")
    loaded = keras.models.load_model(tmp_path / "grouped.keras")
    np.testing.assert_array_equal(outputs(loaded, images), half)
    fold_gates(losses)
    np.testing.assert_allclose(outputs(grouped, images), half, atol=1e-6)
    np.testing.assert_allclose(outputs(plain_copy(grouped), images), half, atol=1e-6)
    assert float(to_numpy(losses.closed)) == 0


def test_a_layer_without_a_gate_is_named():
    images = keras.Input((8, 8, 4))
    x = keras.layers.SeparableConv2D(8, 3, name="separable")(images)
    x = keras.layers.GlobalAveragePooling2D()(x)
    model = keras.Model(images, keras.layers.Dense(4, name="logits")(x))
    with pytest.raises(PlanError, match="'separable' .SeparableConv2D. cannot have a gate"):
        group_model(model, [("separable", 2)], gates=True)


def test_the_cross_entropy_moves_the_assignments_of_gated_models_alone(images):
    """Without split losses; ``fit`` closes and folds the gates."""
    labels = np.arange(6) % 4
    for gates in (False, True):
        keras.utils.set_random_seed(2)
        net = models.mlp((8,), num_classes=4, input_shape=(192,))
        grouped = group_model(net, [("fc1", 2)], 0.0, 0.0, 0.0, gates=gates, stddev=0.5)
        grouped.compile(
            keras.optimizers.SGD(1.0), keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        )
        start = [to_numpy(a.logits) for a in split_losses(grouped).assignments()]
        x = images.reshape(6, -1)
        schedule = GroupingSchedule(warmup_epochs=0, start="random", growth_share=1.0)
        grouped.fit(x, labels, batch_size=2, epochs=2, verbose=0, callbacks=[schedule])
        after = [to_numpy(a.logits) for a in split_losses(grouped).assignments()]
        moved = any(np.abs(a - b).max() > 1e-4 for a, b in zip(start, after, strict=True))
        assert moved == gates
    assert float(to_numpy(split_losses(grouped).closed)) == 0
