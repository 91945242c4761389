"""Augmentation and whitening as layers against slow, obvious NumPy."""

import keras
import numpy as np

from splitnet_tf.recipe.preprocessing import PAD, CropAndFlip, Whiten, with_preprocessing
from tests.conftest import to_numpy
from tests.preprocessed import whitened


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


def test_whitening():
    given = images(4)
    given[0] = 7.0  # without contrast
    given[1] = 7.0 + given[1] / 4096  # with less than the least deviation
    np.testing.assert_allclose(to_numpy(Whiten()(given)), whitened(given), atol=1e-5)


def test_layers_are_saved_with_a_model(tmp_path):
    inner = keras.Sequential([keras.Input((12, 12, 3)), keras.layers.GlobalMaxPooling2D()])
    whole = with_preprocessing(inner, 5)
    whole.save(tmp_path / "whole.keras")
    again = keras.saving.load_model(tmp_path / "whole.keras")
    given = images(16, 12)
    for training in (False, True):
        found = [to_numpy(model(given, training=training)) for model in (whole, again)]
        np.testing.assert_array_equal(*found)


def test_the_model_around_takes_bytes():
    inner = keras.Sequential([keras.Input((8, 8, 3)), keras.layers.GlobalAveragePooling2D()])
    whole = with_preprocessing(inner, 0)
    assert whole.input.dtype == "uint8" and whole.output.dtype == "float32"
    found = to_numpy(whole(images().astype(np.uint8)))
    np.testing.assert_allclose(found, 0, atol=1e-4)  # whitened: mean 0
