"""Augmentation as a layer against slow, obvious NumPy, and its names."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from splitnet_tf.data.stateless import call_with_seed
from splitnet_tf.errors import ArgumentError
from splitnet_tf.recipe.augmentation import (
    LAYERS,
    PAD,
    CropAndFlip,
    CropAndRandAugment,
    ResizedCrop,
    augmentation,
)
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


def test_rand_augment_changes_images_as_a_function_of_its_seed():
    layer = CropAndRandAugment(3)
    given = images(4, 12)
    layer.build(given.shape)
    calls = [
        to_numpy(call_with_seed(layer, tf.constant(given), tf.constant([1, step])))
        for step in (0, 1, 0)
    ]
    np.testing.assert_array_equal(calls[0], calls[2])
    assert not np.array_equal(calls[0], calls[1])
    assert all(found.min() >= 0 and found.max() <= 255 for found in calls)
    np.testing.assert_array_equal(to_numpy(layer(given, training=False)), given)


def test_a_resized_crop_is_a_scaled_window():
    """Of images that are linear in both axes: a window of one is one, with its own ends."""
    y, x = np.mgrid[:16, :20].astype("float32")
    given = np.repeat(np.stack([y, x], -1)[None], 300, axis=0)
    found = to_numpy(ResizedCrop(3)(given, training=True))
    top, bottom = found[:, 0, 0, 0], found[:, -1, 0, 0]
    left, right = found[:, 0, 0, 1], found[:, 0, -1, 1]
    lines = [np.linspace(top, bottom, 16, axis=1)[:, :, None], np.linspace(left, right, 20, axis=1)]
    expected = np.stack(np.broadcast_arrays(lines[0], lines[1][:, None]), -1)
    np.testing.assert_allclose(found, expected, atol=1e-3)
    assert 0.4 < np.mean(right < left) < 0.6
    height, width = bottom - top + 1, np.abs(right - left) + 1
    area, ratio = height * width / 320, width / height
    assert area.min() > 0.07 and area.max() > 0.8 and 0.4 < area.mean() < 0.6
    fits = (height < 15.9) & (width < 19.9)
    assert ratio[fits].min() > 0.74 and ratio[fits].max() < 1.35
    np.testing.assert_array_equal(to_numpy(ResizedCrop(3)(given, training=False)), given)


@pytest.mark.parametrize("augment", ["crop_flip", "rand_augment", "resized_crop"])
def test_it_is_saved_with_a_model(tmp_path, augment):
    inner = keras.Sequential([keras.Input((12, 12, 3)), keras.layers.GlobalMaxPooling2D()])
    whole = with_preprocessing(inner, NONE, augment=augment, seed=5)
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
    with pytest.raises(
        ArgumentError, match="must be one of crop_flip, rand_augment, resized_crop, none; got 'fl"
    ):
        augmentation("flip")


@pytest.mark.parametrize("name", LAYERS)
def test_a_layer_is_made_again_from_its_settings(name):
    layer = LAYERS[name](seed=5)
    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(layer))
    assert type(again) is LAYERS[name] and again.seed == 5
    assert again.compute_output_shape((None, 16, 12, 3)) == (None, 16, 12, 3)
