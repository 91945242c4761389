"""Augmentation as a layer against slow, obvious NumPy, and its names."""

import keras
import numpy as np
import pytest

from splitnet_tf.errors import ArgumentError
from splitnet_tf.recipe.augmentation import PAD, CropAndFlip, augmentation
from splitnet_tf.recipe.preprocessing import NONE, with_preprocessing
from tests.conftest import to_numpy


def images(count=64, size=8):
    return np.random.default_rng(0).integers(0, 256, (count, size, size, 3)).astype("float32")


def test_every_crop_is_a_window_of_the_reflected_image():
    given = images(256, 12)  # wider than three paddings: no window is another's flip
    found = to_numpy(CropAndFlip(3)(given, training=True))
    padded = np.pad(given, [(0, 0), (PAD, PAD), (PAD, PAD), (0, 0)], "reflect")
    drawn = []
    for image, whole in zip(found, padded, strict=True):
        matches = [
            (top, left, flip)
            for top in range(2 * PAD + 1)
            for left in range(2 * PAD + 1)
            for flip in (False, True)
            if np.array_equal(
                image[:, ::-1] if flip else image, whole[top : top + 12, left : left + 12]
            )
        ]
        assert len(matches) == 1
        drawn += matches
    assert {top for top, *_ in drawn} == set(range(2 * PAD + 1))
    assert {left for _, left, _ in drawn} == set(range(2 * PAD + 1))
    assert 0.4 < np.mean([flip for *_, flip in drawn]) < 0.6
    np.testing.assert_array_equal(to_numpy(CropAndFlip(3)(given, training=False)), given)
    again = to_numpy(CropAndFlip(3)(given, training=True))
    np.testing.assert_array_equal(again, found)  # of the seed
    assert not np.array_equal(to_numpy(CropAndFlip(4)(given, training=True)), found)


def test_it_is_saved_with_a_model(tmp_path):
    inner = keras.Sequential([keras.Input((12, 12, 3)), keras.layers.GlobalMaxPooling2D()])
    whole = with_preprocessing(inner, NONE, augment="crop_flip", seed=5)
    whole.save(tmp_path / "whole.keras")
    again = keras.saving.load_model(tmp_path / "whole.keras")
    given = images(16, 12)
    for training in (False, True):
        found = [to_numpy(model(given, training=training)) for model in (whole, again)]
        np.testing.assert_array_equal(*found)


def test_names_and_the_switch_of_before():
    for value in (True, "True", "true", "1", "crop_flip"):
        assert augmentation(value) == "crop_flip"
    for value in (False, "False", "0", "none"):
        assert augmentation(value) == "none"
    with pytest.raises(ArgumentError, match="`augment` must be one of crop_flip, none; got 'flip'"):
        augmentation("flip")
