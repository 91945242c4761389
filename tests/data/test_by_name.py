"""Sets of tensorflow-datasets by name, and random access to their records."""

import logging
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_datasets as tfds

from splitnet_tf import data
from splitnet_tf.data.examples import read_bytes, read_integer
from splitnet_tf.data.records import RecordSource, _read_index, _write_index
from splitnet_tf.errors import DataError
from splitnet_tf.recipe.preprocessing import NONE
from tests.data.small_pictures import CLASSES, example, make_tfds, write_records
from tests.data.test_small_datasets import folder_of


@pytest.mark.parametrize("label", [0, 1, 127, 128, 300, 2**31, 2**62, -1, -(2**63)])
def test_features_are_found_without_protocol_buffers(label):
    record = example(b"picture" * 50, label, file_name=b"a", zebra=7, image_width=3)
    around = memoryview(b"xx" + record + b"yy")
    assert read_integer(around, "label", 2, len(around) - 2) == label
    assert read_bytes(around, "image", 2, len(around) - 2) == b"picture" * 50
    assert read_integer(memoryview(record), "zebra") == 7
    with pytest.raises(ValueError, match="no feature 'nothing'"):
        read_integer(memoryview(record), "nothing")
    for end in range(0, len(record) - 1, 7):  # a record that is cut is an error, or lacks a feature
        try:
            read_bytes(memoryview(record)[:end], "zebra")
        except ValueError:
            continue
        raise AssertionError(end)


@pytest.mark.parametrize("file_format", ["tfrecord", "array_record"])
def test_pictures_of_several_sizes_stay_on_disk(tmp_path, caplog, file_format):
    caplog.set_level(logging.INFO)
    counts = {"train": 30, "validation": 6, "blind": 6}
    where = make_tfds(tmp_path, counts, file_format=file_format)
    found = data.load_dataset("small_set", where, image_size=24)
    assert (len(found.train), len(found.valid), len(found.test)) == (27, 3, 6)
    assert found.class_names == CLASSES and found.input_shape == (24, 24, 3)
    assert "'test' of 'small_set' has no labels" in caplog.text
    assert "its validation split is the test data" in caplog.text
    source = found.test.images.source
    path = next(tmp_path.glob(f"small_set/*/*-validation.{file_format}*"))
    assert str(path) in source.name(0)
    np.testing.assert_array_equal(found.test.labels, np.arange(6) % 3)
    x, y = next(iter(data.evaluation_batches(found.test, 6, preprocessing=NONE)))
    assert x.shape == (6, 24, 24, 3) and x.numpy().std() > 20
    again = data.load_dataset("small_set:1.0.0", where, image_size=24)
    assert again.digest() == found.digest()
    assert data.load_dataset("small_set", where).input_shape == (224, 224, 3)


def test_classes_without_names(tmp_path, caplog):
    caplog.set_level(logging.INFO)
    where = make_tfds(tmp_path, {"train": 12, "test": 6}, names=3)
    found = data.load_dataset("small_set", where, image_size=16)
    assert found.class_names == ("0", "1", "2")
    assert "has no validation split" in caplog.text


def test_an_index_of_records(tmp_path):
    rng = np.random.default_rng(0)
    pictures = [rng.bytes(n) for n in rng.integers(1, 300, 40)]
    files = [str(tmp_path / f"{k}.tfrecord") for k in range(3)]
    for k, file in enumerate(files):
        write_records(file, [example(p, 10 * k + i) for i, p in enumerate(pictures[k::3])])
    source = RecordSource(files, "image", "label", "make it again")
    wanted = [p for k in range(3) for p in pictures[k::3]]
    assert [source.read(i) for i in range(len(source))] == wanted
    parsed = [
        tf.train.Example.FromString(record.numpy()).features.feature["label"].int64_list.value[0]
        for record in tf.data.TFRecordDataset(files)
    ]
    np.testing.assert_array_equal(source.labels, parsed)
    kept = tmp_path / "index.npz"
    _write_index(kept, source._index)
    np.testing.assert_array_equal(_read_index(kept), source._index)
    content = bytearray(kept.read_bytes())
    content[200] ^= 1
    kept.write_bytes(content)
    assert _read_index(kept) is None and _read_index(tmp_path / "none.npz") is None
    second = tmp_path / "1.tfrecord"
    whole = second.read_bytes()
    for end in (5, 20, len(whole) - 1):
        second.write_bytes(whole[:end])
        with pytest.raises(DataError, match="1.tfrecord is damaged .it ends within a record"):
            RecordSource(files, "image", "label", "make it again")


@pytest.mark.parametrize("name", ["mnist", "cifar10"])
def test_the_index_finds_what_tensorflow_datasets_reads(name):
    where = folder_of(name)
    (file,) = map(str, Path(where, name).glob("*/*-test.tfrecord*"))
    source = RecordSource([file], "image", "label", "")
    assert len(source) == 10_000
    wanted = tfds.load(name, split="test[:40]", data_dir=where, download=False, batch_size=-1)
    pictures = data.Pictures(source, wanted["image"].shape[1], wanted["image"].shape[3])
    np.testing.assert_array_equal(pictures[np.arange(40)], wanted["image"])
    np.testing.assert_array_equal(source.labels[:40], wanted["label"])
