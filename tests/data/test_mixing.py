"""Mixup and cutmix: what they are by NumPy, and functions of the seed and the step."""

import dataclasses

import numpy as np
import pytest

from splitnet_tf import models
from splitnet_tf.data.feeds import feed_of
from splitnet_tf.data.mixing import MixedFeed, mixed
from splitnet_tf.errors import ArgumentError
from splitnet_tf.recipe import Phase

CLASSES = 4
RNG = np.random.default_rng(0)
IMAGES = RNG.normal(size=(24, 6, 8, 3)).astype("float32")
LABELS = np.arange(24) % CLASSES


def batches(count, start=0, data=(IMAGES, LABELS), **alphas):
    feed = feed_of(data, batch_size=8, seed=1)
    alphas = {"mixup": 0.0, "cutmix": 0.0, **alphas}
    found = MixedFeed(feed, CLASSES, **alphas, seed=3).training(start)
    plain = iter(feed.training(start))
    return [
        [[np.asarray(a) for a in batch] for batch in (next(found), next(plain))]
        for _ in range(count)
    ]


def test_mixup_is_a_weighted_sum_of_pairs():
    for (x, y), (images, labels) in batches(3, mixup=0.5):
        hot = np.eye(CLASSES)[labels]
        np.testing.assert_allclose(y.sum(axis=1), 1, atol=1e-6)
        for i in range(8):
            fits = []
            for j in range(8):
                apart = images[i] - images[j]
                if i == j:
                    share = 1.0
                else:
                    share = float(np.sum((x[i] - images[j]) * apart) / np.sum(apart**2))
                sums = (share * v[i] + (1 - share) * v[j] for v in (images, hot))
                wanted_x, wanted_y = sums
                fits.append(
                    np.allclose(x[i], wanted_x, atol=1e-4)
                    and np.allclose(y[i], wanted_y, atol=1e-4)
                )
            assert any(fits)


def test_cutmix_puts_one_window_of_the_partner_into_an_image():
    windows = 0
    for (x, y), (images, labels) in batches(6, cutmix=1.0):
        changed = np.any(x != images, axis=(0, 3))  # the window is one for the batch
        rows, columns = np.flatnonzero(changed.any(axis=1)), np.flatnonzero(changed.any(axis=0))
        windows += len(rows) > 0
        if len(rows):
            assert np.ptp(rows) == len(rows) - 1 and np.ptp(columns) == len(columns) - 1
        share = 1 - len(rows) * len(columns) / 48
        for i in range(8):
            own = y[i, labels[i]]
            assert own == pytest.approx(share, abs=1e-5) or own == pytest.approx(1, abs=1e-5)
            partners = [
                j
                for j in range(8)
                if np.array_equal(np.where(changed[..., None], images[j], images[i]), x[i])
            ]
            assert partners
    assert windows > 2


def test_batches_are_functions_of_the_seed_and_the_step():
    whole = batches(5, mixup=0.5, cutmix=1.0)
    for (found, _), (expected, _) in zip(
        batches(2, 3, mixup=0.5, cutmix=1.0), whole[3:], strict=True
    ):
        for one, other in zip(found, expected, strict=True):
            np.testing.assert_array_equal(one, other)
    assert not np.array_equal(whole[0][0][0], whole[3][0][0])  # the same images, an epoch later


def test_weights_are_mixed_as_the_labels_are():
    weights = np.where(LABELS == 0, 5.0, 1.0).astype("float32")
    for (_, y, mixed_weights), _ in batches(2, data=(IMAGES, LABELS, weights), mixup=0.5):
        np.testing.assert_allclose(mixed_weights, 1 + 4 * y[:, 0], atol=1e-5)


def test_a_phase_without_mixing_leaves_its_feed():
    feed, phase = feed_of((IMAGES, LABELS), 8), Phase(1)
    network = models.mlp((4,), CLASSES, (6, 8, 3))
    assert mixed(feed, phase, network, 0) is feed
    assert isinstance(mixed(feed, dataclasses.replace(phase, mixup=0.2), network, 0), MixedFeed)
    with pytest.raises(ArgumentError, match="`mixup` must be a number of 0 or more; got -1"):
        dataclasses.replace(phase, mixup=-1)
    flat = MixedFeed(feed_of((IMAGES.reshape(24, -1), LABELS), 8), CLASSES, 0.0, 1.0)
    with pytest.raises(ArgumentError, match="`cutmix` needs images"):
        next(flat.training())
