"""Folders of pictures: layouts, what a folder lacks, kinds of pictures, digests."""

import json
import logging
import os
import shutil

import numpy as np
import pytest
import tensorflow as tf

from splitnet_tf.data import Pictures, load_folder
from splitnet_tf.errors import ArgumentError
from tests.data.small_pictures import CLASSES, drawn, encode, make_folder


def names(split):
    """Paths of the pictures of a split, below the folder."""
    return [split.images.source.names[i] for i in split.images.chosen]


@pytest.mark.parametrize(
    ("counts", "share", "sizes", "sentence"),
    [
        ({"train": 8, "val": 3, "test": 2}, None, (24, 9, 6), None),
        ({"train": 8, "valid": 3}, None, (21, 3, 9), "no test split with labels: its validation"),
        ({"train": 8, "test": 2}, 0.25, (18, 6, 6), "no validation split: 25% of its training"),
        ({"train": 8}, None, (18, 3, 3), "neither a validation nor a test split: for each, 10%"),
        ({"": 8}, 0.4, (9, 6, 9), "neither a validation nor a test split: for each, 40%"),
    ],
    ids=["all", "no_test", "no_valid", "train_only", "one_level"],
)
def test_layouts_and_what_they_lack(tmp_path, caplog, counts, share, sizes, sentence):
    caplog.set_level(logging.INFO)
    make_folder(tmp_path / "mine", counts)
    found = load_folder(tmp_path / "mine", 16, share)
    splits = (found.train, found.valid, found.test)
    assert tuple(map(len, splits)) == sizes and found.class_names == CLASSES
    assert found.input_shape == (16, 16, 3) and found.name == "mine"
    every = [name for split in splits for name in names(split)]
    assert len(set(every)) == len(every) == sum(counts.values()) * 3
    for split in splits:
        assert [name.split("/")[-2] for name in names(split)] == [CLASSES[k] for k in split.labels]
        assert len(np.unique(np.bincount(split.labels))) == 1
    again = load_folder(tmp_path / "mine", 16, share)
    assert again.digest() == found.digest() and names(again.valid) == names(found.valid)
    assert sentence is None or caplog.text.count(sentence) == 2
    if sentence is None:
        with pytest.raises(ArgumentError, match="`validation_share=0.2`: .* of its own"):
            load_folder(tmp_path / "mine", 16, 0.2)


def test_pictures_of_one_size_are_read_whole(tmp_path):
    make_folder(tmp_path, {"train": 4, "val": 2, "test": 2}, sizes=(20, 21), suffix=".png")
    found = load_folder(tmp_path)
    assert isinstance(found.train.images, np.ndarray) and found.input_shape == (20, 20, 3)
    rng = np.random.default_rng(0)
    first = drawn(rng, 0, *rng.integers(20, 21, 2))
    np.testing.assert_array_equal(found.train.images[0], first)
    scaled = load_folder(tmp_path, 16)
    assert isinstance(scaled.train.images, Pictures) and scaled.input_shape == (16, 16, 3)
    assert scaled.digest() != found.digest()


def test_grey_pictures_and_those_with_alpha(tmp_path, caplog):
    caplog.set_level(logging.INFO)
    make_folder(tmp_path, {"train": 4}, sizes=(20, 21), suffix=".png")
    grey = np.random.default_rng(0).integers(0, 256, (20, 20, 1), np.uint8)
    alpha = np.concatenate([grey, grey // 2, 255 - grey, grey], axis=-1)
    place = tmp_path / "train" / "cat"
    (place / "000.png").write_bytes(tf.io.encode_png(grey).numpy())
    (place / "001.png").write_bytes(tf.io.encode_png(alpha).numpy())
    found = load_folder(tmp_path)
    assert found.input_shape == (20, 20, 3) and "alpha channel, which is dropped" in caplog.text
    every = np.concatenate([s.images for s in (found.train, found.valid, found.test)])
    for wanted in (np.repeat(grey, 3, -1), alpha[..., :3]):
        assert (every == wanted).all(axis=(1, 2, 3)).sum() == 1
    for path in tmp_path.glob("train/*/*.png"):
        path.write_bytes(tf.io.encode_png(grey).numpy())
    assert load_folder(tmp_path).input_shape == (20, 20, 1)


def test_other_files_are_passed_over(tmp_path):
    make_folder(tmp_path, {"train": 4})
    before = load_folder(tmp_path, 16)
    (tmp_path / "readme.txt").write_text("mine")
    (tmp_path / "train" / "cat" / "notes.txt").write_text("a cat")
    (tmp_path / "train" / "cat" / "._000.jpg").write_bytes(b"\0\5\x16\7")
    (tmp_path / "train" / ".ipynb_checkpoints").mkdir()
    assert load_folder(tmp_path, 16).digest() == before.digest()
    picture = tmp_path / "train" / "cat" / "000.jpg"
    for more in ("more.JPEG", os.fsdecode(b"caf\xe9.jpg")):
        shutil.copy(picture, tmp_path / "train" / "cat" / more)
        assert load_folder(tmp_path, 16).digest() != before.digest()
        (tmp_path / "train" / "cat" / more).unlink()
    picture.write_bytes(encode(np.zeros((30, 30, 3), np.uint8)))
    assert load_folder(tmp_path, 16).digest() != before.digest()


def test_superclasses(tmp_path):
    make_folder(tmp_path, {"train": 4})
    table = {"pets": ["cat", "dog"], "others": ["bird"]}
    (tmp_path / "superclasses.json").write_text(json.dumps(table))
    found = load_folder(tmp_path, 16)
    assert found.superclass_names == ("pets", "others")
    np.testing.assert_array_equal(found.superclasses, [1, 0, 0])
