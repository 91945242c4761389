"""Data sets and batches: planted groups, exact repetition, augmentation."""

import os
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from splitnet_tf import data
from splitnet_tf.data import Split
from splitnet_tf.data.dataset import Dataset
from splitnet_tf.data.pipeline import crop_and_flip
from splitnet_tf.errors import DataError
from splitnet_tf.recipe.augmentation import PAD
from splitnet_tf.recipe.preprocessing import WHITEN
from tests.preprocessed import whitened


def take(batches, count):
    return [(x.numpy(), y.numpy()) for (x, y), _ in zip(batches, range(count), strict=False)]


@pytest.fixture(scope="module")
def split():
    rng = np.random.default_rng(0)
    return Split(
        rng.integers(0, 256, (50, 12, 12, 3), np.uint8), rng.integers(0, 4, 50).astype("int32")
    )


def test_planted_data_is_a_function_of_its_seed():
    first, again, other = (data.planted_groups((2, 2), 3, seed=s, num_train=60) for s in (1, 1, 2))
    np.testing.assert_array_equal(first.train.images, again.train.images)
    assert (first.train.images != other.train.images).any()
    assert first.num_classes == 12
    coarse, fine = first.groups
    assert np.bincount(coarse).tolist() == [6, 6] and np.bincount(fine).tolist() == [3] * 4
    np.testing.assert_array_equal(coarse, fine // 2)
    assert sorted(coarse.tolist()) != coarse.tolist()  # indices tell nothing
    assert np.bincount(first.train.labels).tolist() == [5] * 12


def test_planted_classes_of_a_group_share_features():
    """Mean images' energy in each pattern: nearer inside a group than across, on average."""
    found = data.planted_groups((2,), 4, num_train=1600)
    images = found.train.images.astype("float64") - 128
    colour = np.stack(
        [np.cov(images[found.train.labels == c].reshape(-1, 3).T).ravel() for c in range(8)]
    )
    distance = np.linalg.norm(colour[:, None] - colour[None], axis=-1)
    same = found.groups[0][:, None] == found.groups[0][None]
    inside = distance[same & ~np.eye(8, dtype=bool)]
    assert inside.max() < distance[~same].min()


@pytest.mark.parametrize("groups", [(2, 2), (3, 2), (2, 3)])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_planted_subgroups_are_nearer_to_their_siblings(groups, seed):
    """By colour and wavelength of the images alone: covariances between near pixels."""
    found = data.planted_groups(groups, 2, seed, num_train=3600, num_valid=9, num_test=9)
    images = found.train.images.astype("float64") - 128
    coarse, fine = found.groups
    features = []
    for group in range(fine.max() + 1):
        own = images[np.isin(found.train.labels, np.flatnonzero(fine == group))]
        around = [np.roll(own, (i, j), (1, 2)) for i in range(3) for j in range(3)]
        features.append(np.stack([np.einsum("nyxa,nyxb->ab", own, o) for o in around]) / len(own))
    features = np.stack(features).reshape(len(features), -1)
    distance = np.linalg.norm(features[:, None] - features[None], axis=-1)
    parent = np.array([coarse[fine == g][0] for g in range(len(features))])
    siblings = (parent[:, None] == parent[None]) & ~np.eye(len(features), dtype=bool)
    cousins = parent[:, None] != parent[None]
    for g in range(len(features)):
        assert 0 < distance[g, siblings[g]].max() < distance[g, cousins[g]].min()


def test_batches_resume_anywhere_bit_for_bit(split):
    whole = take(data.training_batches(split, 8, seed=5, preprocessing=WHITEN), 15)  # six an epoch
    for start in (1, 5, 6, 11):
        rest = take(
            data.training_batches(split, 8, seed=5, start_step=start, preprocessing=WHITEN),
            15 - start,
        )
        for (x, y), (u, v) in zip(whole[start:], rest, strict=True):
            np.testing.assert_array_equal(x, u)
            np.testing.assert_array_equal(y, v)
    other = take(data.training_batches(split, 8, seed=6, preprocessing=WHITEN), 1)[0]
    assert (other[0] != whole[0][0]).any()
    assert (whole[0][0] != whole[6][0]).any()


def test_an_epoch_sees_every_image_once(split):
    plain = data.training_batches(split, 10, seed=1, augment="none", preprocessing=WHITEN)
    seen = np.concatenate([x for x, _ in take(plain, 5)])
    expected = WHITEN(split.images).numpy()
    order = np.lexsort(seen.reshape(50, -1).T)
    wanted = np.lexsort(expected.reshape(50, -1).T)
    np.testing.assert_array_equal(seen[order], expected[wanted])


ALLOCATOR = """
import sys, numpy as np, tensorflow as tf
from splitnet_tf.data import Split, training_batches
from splitnet_tf.recipe.preprocessing import WHITEN
images, spec = np.zeros((8, 8, 8, 3), np.uint8), tf.TensorSpec((8, 8, 3), tf.uint8)
next(iter(training_batches(Split(images, np.zeros(8, np.int32)), 4, 0, preprocessing=WHITEN)))
print("then a generator", file=sys.stderr, flush=True)
next(iter(tf.data.Dataset.from_generator(lambda: iter(images), output_signature=spec)))
"""


@pytest.mark.slow
def test_batches_leave_the_allocator_alone():
    # TensorFlow says so when it sets M_TRIM_THRESHOLD, after which a step takes far longer.
    said = subprocess.run(
        [sys.executable, "-c", ALLOCATOR],
        env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "0"},
        check=True,
        capture_output=True,
        text=True,
    ).stderr
    ours, generator = said.split("then a generator")
    if "M_TRIM_THRESHOLD" not in generator:
        pytest.skip("this TensorFlow does not set M_TRIM_THRESHOLD, or does not say so")
    assert "M_TRIM_THRESHOLD" not in ours


@given(st.integers(0, 10**6))
def test_whitening_is_per_image_and_channel(seed):
    images = np.random.default_rng(seed).integers(0, 256, (3, 6, 5, 3), np.uint8)
    images[0, :, :, 1] = 7  # no deviation at all
    np.testing.assert_allclose(WHITEN(images), whitened(images), rtol=1e-4, atol=1e-5)


@given(st.integers(0, 10**6))
def test_every_crop_is_a_window_of_the_padded_image(seed):
    images = np.random.default_rng(seed).integers(0, 256, (4, 6, 6, 2), np.uint8)
    found = crop_and_flip(images, np.array([seed, 1])).numpy()
    for before, after in zip(images, found, strict=True):
        padded = np.pad(before, [(PAD, PAD), (PAD, PAD), (0, 0)], "reflect")
        windows = [
            padded[i : i + 6, j : j + 6][:, ::flip]
            for i in range(2 * PAD + 1)
            for j in range(2 * PAD + 1)
            for flip in (1, -1)
        ]
        assert any(np.array_equal(after, w) for w in windows)


def test_all_crops_and_flips_occur():
    image = np.random.default_rng(0).integers(0, 256, (1, 16, 16, 1), np.uint8)
    found = crop_and_flip(np.repeat(image, 4000, axis=0), np.array([3, 4])).numpy()
    assert len(np.unique(found.reshape(4000, -1), axis=0)) == 2 * (2 * PAD + 1) ** 2


@pytest.mark.parametrize("size", [(PAD, 12), (12, PAD)])
def test_images_too_small_to_augment_are_refused(size):
    """One pixel more can be cropped; without augmentation any size can be trained on."""
    small = Split(np.zeros((4, *size, 1), np.uint8), np.zeros(4, np.int32))
    with pytest.raises(DataError, match=rf"^Images of {size[0]}x{size[1]} .*`augment=none`\.$"):
        data.training_batches(small, 2, seed=0, preprocessing=WHITEN)
    take(data.training_batches(small, 2, seed=0, augment="none", preprocessing=WHITEN), 1)
    larger = Split(np.zeros((4, PAD + 1, PAD + 1, 1), np.uint8), small.labels)
    take(data.training_batches(larger, 2, seed=0, preprocessing=WHITEN), 1)


def test_evaluation_sees_all_in_order(split):
    batches = take(data.evaluation_batches(split, 8, preprocessing=WHITEN), 99)
    assert [len(y) for _, y in batches] == [8] * 6 + [2]
    np.testing.assert_array_equal(np.concatenate([y for _, y in batches]), split.labels)


def make(**changes):
    rng = np.random.default_rng(0)
    split = Split(rng.integers(0, 9, (6, 4, 4, 3), np.uint8), np.arange(6, dtype=np.int32) % 3)
    settings = {"train": split, "valid": split, "test": split, "class_names": ("a", "b", "c")}
    return Dataset("made", **{**settings, **changes})


def test_classes_without_a_training_example():
    assert make().absent_classes() == []
    one = Split(X, Y)
    assert make(train=one).absent_classes() == ["b", "c"]
    several = [np.array(rows, np.int32) for rows in ([[1, 0, 1], [1, 0, 0]], [[0, 1, 0]] * 2)]
    splits = {n: Split(X, labels) for n, labels in zip(("train", "valid"), several, strict=True)}
    assert make(**splits, test=splits["valid"]).absent_classes() == ["b"]


X, Y = np.zeros((2, 4, 4, 3), np.uint8), np.zeros(2, np.int32)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"class_names": ("a",)}, "has 1 classes"),
        ({"train": Split(X.astype("int32"), Y)}, "'train': images must be bytes or floats"),
        ({"train": Split(X.astype("uint16"), Y)}, "whole numbers of images must be bytes"),
        ({"train": Split(X[:, 0, 0, 0], Y)}, "'train': images must be bytes or floats"),
        ({"valid": Split(X[0], Y)}, "'valid': labels must be 4 integers"),
        ({"test": Split(X.astype("float32"), Y)}, "images are float32 .4, 4, 3., those of the"),
        ({"test": Split(X, np.eye(3, dtype=int)[Y])}, "all must be of one kind"),
        ({"test": Split(X, np.zeros((2, 4), int))}, "of several classes must be 0 or 1, .2, 3."),
        ({"test": Split(X[:0], Y[:0])}, "'test' is empty"),
        ({"test": Split(X, Y[:1])}, "labels must be 2 integers"),
        ({"test": Split(X, Y.astype(float))}, "labels must be 2 integers"),
        ({"test": Split(X, Y + 3)}, "labels must lie from 0 to 2; found 3 to 3"),
        ({"test": Split(X, Y - 1)}, "found -1 to -1"),
        ({"test": Split(X[:, :3], Y)}, "all must be of one size"),
    ],
)
def test_wrong_data_is_named(changes, sentence):
    with pytest.raises(DataError, match=sentence):
        make(**changes)


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (lambda: data.load_dataset("SVHN"), "dataset must be one of cifar100, planted"),
        (lambda: data.load_dataset("planted-0"), "got 'planted-0'"),
        (lambda: data.load_dataset("cifar100", "/nowhere"), "run: python download_cifar100.py"),
        (
            lambda: data.training_batches(make().train, 7, 0, preprocessing=WHITEN),
            "from 1 to the 6 training images",
        ),
        (lambda: data.planted_groups((2,), 9), "2 to 6 classes a group"),
    ],
)
def test_what_cannot_be_loaded_is_named(call, sentence):
    with pytest.raises(ValueError, match=sentence):
        call()


def test_no_data_set_is_autotuned(split):
    """An iterator of one that is makes its process wait when it is let go of."""
    for batches in (
        data.training_batches(split, 4, seed=0, preprocessing=WHITEN),
        data.evaluation_batches(split, 4, preprocessing=WHITEN),
        data.calibration_batches(split, 4, 2, preprocessing=WHITEN),
    ):
        assert batches.options().autotune.enabled is False
