"""Batches of pictures on disk: the order, the windows, the end, against single pictures."""

import numpy as np
import pytest
import tensorflow as tf

from splitnet_tf import data
from splitnet_tf.data.decoding import DRAWS, crop_window, middle, random_window, resized_crops
from splitnet_tf.data.feeds import SplitFeed
from splitnet_tf.data.order import epoch_order
from splitnet_tf.errors import DataError
from splitnet_tf.recipe.preprocessing import NONE, Preprocessing
from tests.data.small_pictures import encode, make_folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    root = make_folder(tmp_path_factory.mktemp("pictures"), {"train": 9, "val": 5, "test": 3})
    return data.load_folder(root, 16)


def ramps(height, width):
    """A picture whose first two channels are linear in its rows and columns."""
    y, x = np.mgrid[:height, :width].astype("float32")
    image = np.stack([y, x, 0 * x], axis=-1) * 255 / max(height, width)
    return image.round().astype(np.uint8)


@pytest.mark.parametrize(
    ("shape", "side"),
    [((64, 100), 56), ((100, 60), 52.5), ((30, 20), 16), ((16, 40), 16), ((10, 12), 10)],
)
def test_the_middle_of_a_picture(shape, side):
    """A square of 7/8 of the shorter side, but no less than the image has."""
    found = np.asarray(middle(encode(ramps(*shape), ".png"), 16, 3)).astype(float)
    scale = 255 / max(shape)
    for axis in (0, 1):
        line = np.moveaxis(found[..., axis], axis, 0).mean(axis=1) / scale
        # Pixel centres: half an output pixel from the window's ends.
        step = side / 16
        expected = shape[axis] / 2 + (np.arange(16) - 7.5) * step - 0.5
        clear = slice(1, -1)  # at the ends of a picture nothing is beyond
        assert np.abs(line - expected)[clear].max() < 1 + 1 / scale


def test_a_jpeg_is_scaled_like_a_png():
    """Though it is decoded at a half, a quarter or an eighth of its size."""
    draws = tf.random.stateless_uniform((6, DRAWS), (3, 4))
    for height, width in ((40, 50), (70, 60), (150, 200), (300, 280)):
        both = encode(ramps(height, width), ".jpg"), encode(ramps(height, width), ".png")
        jpeg, png = (np.asarray(middle(b, 16, 3)).astype(int) for b in both)
        assert np.abs(jpeg - png).max() < 12 and np.abs(jpeg - png).mean() < 4
        for drawn in draws:
            jpeg, png = (np.asarray(random_window(b, drawn, 16, 3)).astype(int) for b in both)
            assert np.abs(jpeg - png).max() < 16 and np.abs(jpeg - png).mean() < 5


def test_windows_lie_in_the_picture():
    draws = tf.random.stateless_uniform((500, DRAWS), (1, 2))
    for height, width in ((100, 150), (64, 64), (10, 300), (300, 10), (1, 1), (3, 2)):
        top, left, h, w = np.asarray(crop_window(height, width, draws)).T
        assert min(top.min(), left.min()) >= 0 and min(h.min(), w.min()) >= 1
        assert (top + h).max() <= height and (left + w).max() <= width
        if min(height, width) >= 64:
            area, ratio = h * w / (height * width), w / h
            assert area.min() > 0.07 and area.max() > 0.85 and 0.3 < area.mean() < 0.6
            assert ratio.min() > 0.7 and ratio.max() < 1.4
            assert top.min() == 0 and (top + h).max() == height
        if width == 300:  # none fits: the largest in the middle
            assert set(zip(top, left, h, w, strict=True)) == {(0, 143, 10, 13)}


def test_windows_of_images_in_memory():
    given = np.stack([ramps(20, 20)] * 200)
    found = resized_crops(tf.constant(given), tf.constant([1, 2])).numpy()
    assert found.dtype == np.uint8 and found.shape == given.shape
    again = resized_crops(tf.constant(given), tf.constant([1, 2])).numpy()
    np.testing.assert_array_equal(found, again)
    rows = found[..., 0].astype(int)
    assert (np.diff(rows, axis=1) >= 0).all()  # no row is turned over
    left, right = found[:, 0, 0, 1].astype(int), found[:, 0, -1, 1].astype(int)
    assert 0.35 < np.mean(right < left) < 0.65


@pytest.mark.parametrize("augment", ["none", "rand_augment", "resized_crop"])
def test_training_is_a_function_of_seed_and_step(folder, augment):
    def batches(seed, start, count):
        feed = SplitFeed(folder.train, 5, seed, augment, preprocessing=Preprocessing("scale01"))
        found = iter(feed.training(start))
        return [[np.asarray(t) for t in next(found)] for _ in range(count)]

    steps = folder.train
    found = batches(3, 0, 8)  # five batches an epoch
    for step, (x, y) in enumerate(found):
        epoch, i = divmod(step, len(folder.train) // 5)
        chosen = epoch_order(3, epoch, len(folder.train))[5 * i : 5 * i + 5]
        np.testing.assert_array_equal(y, folder.train.labels[chosen])
        assert x.shape == (5, 16, 16, 3) and x.dtype == np.float32
        whole = folder.train.images[chosen].astype("float32") / 255
        assert np.array_equal(x, whole) == (augment == "none")
    assert len(steps) == 27
    for one, other in zip(found[6:], batches(3, 6, 2), strict=True):
        np.testing.assert_array_equal(one[0], other[0])
        np.testing.assert_array_equal(one[1], other[1])
    assert not np.array_equal(found[0][0], batches(4, 0, 1)[0][0])


def test_evaluation_has_every_picture_once_in_order(folder):
    found = data.evaluation_batches(folder.valid, 4, preprocessing=NONE)
    for _ in range(2):  # again and again
        images, labels = zip(*((np.asarray(x), np.asarray(y)) for x, y in found), strict=True)
        assert [len(y) for y in labels] == [4, 4, 4, 3]
        np.testing.assert_array_equal(np.concatenate(labels), folder.valid.labels)
        np.testing.assert_array_equal(
            np.concatenate(images), folder.valid.images[np.arange(15)].astype("float32")
        )
    some = list(data.calibration_batches(folder.train, 4, 3, preprocessing=NONE))
    assert [x.shape for x in some] == [(4, 16, 16, 3)] * 3


def test_a_damaged_picture_is_named(tmp_path):
    root = make_folder(tmp_path, {"train": 6, "val": 2, "test": 2}, sizes=(40, 50))
    found = data.load_folder(root, 16)
    picture = root / "train" / "dog" / "003.jpg"
    picture.write_bytes(picture.read_bytes()[:-400])
    batches = SplitFeed(found.train, 4, preprocessing=NONE).training()
    with pytest.raises(DataError, match=r"dog/003.jpg cannot be decoded \(it is truncated, dam"):
        for _, _batch in zip(range(8), batches, strict=False):
            pass
    picture.unlink()
    with pytest.raises(DataError, match="dog/003.jpg cannot be read .No such file"):
        list(SplitFeed(found.train, 4, preprocessing=NONE).evaluation(5))
