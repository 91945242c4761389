"""Data that cannot be used: one sentence each, which names the file or argument and the way out."""

import json
import os
import re
import tempfile
from pathlib import Path

import numpy as np
import pytest
import tensorflow_datasets as tfds

from splitnet_tf import data
from splitnet_tf.data.channel_statistics import standardize
from splitnet_tf.data.feeds import SplitFeed
from splitnet_tf.errors import SplitNetError
from splitnet_tf.recipe.preprocessing import NONE
from tests.cli.forked import call, run_programs
from tests.data.small_pictures import encode, example, make_folder, make_tfds, write_records

FULL = {"train": 4, "val": 2, "test": 2}
IMAGE = np.zeros((20, 20, 3), np.uint8)
CAT = "train/cat"


def write(path, content):
    return lambda root: (root / path).write_bytes(content)


def move(path, to):
    return lambda root: (root / path).rename(root / to)


def empty(path):
    """Removes the pictures of a folder."""
    return lambda root: [file.unlink() for file in (root / path).glob("*")]


def cut(path, end):
    """Leaves the beginning of a file."""
    return lambda root: (root / path).write_bytes((root / path).read_bytes()[:end])


def link(path):
    return lambda root: (root / path).symlink_to(root / "nowhere")


def superclasses(content):
    text = content if isinstance(content, str) else json.dumps(content)
    return write("superclasses.json", text.encode())


def remove_pictures_of(split):
    def change(root):
        for name in os.listdir(root / split):
            empty(f"{split}/{name}")(root)
            (root / split / name).rmdir()

    return change


NOT_ALL = r"superclasses.json must give each class once.*correct it or remove it"
# What is done to a folder of pictures, and the sentence.
FOLDERS = {
    "text_named_jpg": (write(f"{CAT}/x.jpg", b"a cat"), r"cat/x.jpg is not a picture.*remove"),
    "empty_file": (write(f"{CAT}/x.jpg", b""), r"cat/x.jpg is empty; replace the picture or remo"),
    "only_a_beginning": (
        write(f"{CAT}/x.jpg", b"\xff\xd8\xff"),
        r"x.jpg cannot be decoded.*rep",
    ),
    "truncated_jpeg": (cut(f"{CAT}/001.jpg", 500), r"cat/001.jpg cannot be decoded .it is trunca"),
    "damaged_png": (
        write(f"{CAT}/x.png", encode(IMAGE, ".png")[:40] + b"\0" * 30),
        r"cat/x.png cannot be decoded .it is truncated, damaged.*repair the picture or remove it",
    ),
    "tiff": (write(f"{CAT}/x.tif", b"II*\0"), r"cat/x.tif is of a kind that cannot.*convert it"),
    "heic": (write(f"{CAT}/x.HEIC", b"ftyp"), r"cat/x.HEIC is of a kind that cannot.*convert it"),
    "folder_named_jpg": (
        lambda root: (root / CAT / "x.jpg").mkdir(),
        r"cat/x.jpg is not a file, or a link to nothing; remove it",
    ),
    "link_to_nothing": (link(f"{CAT}/x.jpg"), r"cat/x.jpg is not a file, or a link to nothing"),
    "class_without_pictures": (empty(CAT), r"Class folder .*cat has no pictures .* add some, or"),
    "one_class": (
        lambda root: [move(f"train/{name}", f"{name}_")(root) for name in ("bird", "dog")],
        r"train has only the folder 'cat'; it must have a folder .* each of two classes",
    ),
    "no_classes": (
        lambda root: [move(f"train/{n}", f"{n}_")(root) for n in ("bird", "cat", "dog")],
        r"train has no folders; it must have a folder of pictures",
    ),
    "no_train": (move("train", "training"), r"has a folder 'val' but none that is named 'train'"),
    "two_validations": (
        lambda root: (root / "valid").mkdir(),
        r"has val and valid for the valid split; keep one of them",
    ),
    "unknown_class": (move("val/cat", "val/lion"), r"val/lion is not a class of the training pict"),
    "no_validation_classes": (
        lambda root: [move(f"val/{n}", f"{n}_")(root) for n in ("bird", "cat", "dog")],
        r"val has no folders of classes; sort its pictures",
    ),
    "no_test_pictures": (
        lambda root: [empty(f"test/{n}")(root) for n in ("bird", "cat", "dog")],
        r"split 'test' is empty; it needs one image or more",
    ),
    "superclasses_no_json": (superclasses("{"), NOT_ALL),
    "superclasses_list": (superclasses(["cat", "dog", "bird"]), NOT_ALL),
    "superclass_lacks_one": (superclasses({"a": ["cat"], "b": ["dog"]}), NOT_ALL),
    "superclass_twice": (superclasses({"a": ["cat", "dog"], "b": ["dog", "bird"]}), NOT_ALL),
    "superclass_unknown": (superclasses({"a": ["cat", "dog"], "b": ["bird", "lion"]}), NOT_ALL),
}


def refused(load, sentence):
    """The error of a call: one sentence of reasonable length that matches."""
    with pytest.raises(SplitNetError) as error:
        load()
    text = str(error.value)
    assert re.search(sentence, text, re.S), text
    assert "\n" not in text and len(text) < 500 and text.endswith((".", ")", '"')), text


@pytest.mark.parametrize("case", FOLDERS)
def test_folders(tmp_path, case):
    change, sentence = FOLDERS[case]
    make_folder(tmp_path / "mine", FULL)
    change(tmp_path / "mine")

    def load():
        found = data.load_dataset(str(tmp_path / "mine"), image_size=16)
        for split in (found.train, found.valid, found.test):
            list(SplitFeed(split, 4, preprocessing=NONE).evaluation())

    refused(load, sentence)


def test_one_picture_of_a_class_cannot_be_divided(tmp_path):
    make_folder(tmp_path, {"train": 1})
    refused(lambda: data.load_dataset(str(tmp_path)), "too few training examples to hold out")


def load_as_nobody(*folders):
    """Prints why each folder cannot be loaded; root reads everything."""
    if os.geteuid() == 0:
        os.setuid(65534)
    for folder in folders:
        try:
            data.load_dataset(folder)
        except SplitNetError as error:
            print(error)


def test_folders_and_files_that_may_not_be_read():
    with tempfile.TemporaryDirectory() as made:  # pytest's own are closed to others
        Path(made).chmod(0o755)
        folders = []
        for k, place in enumerate(("train", CAT, f"{CAT}/001.jpg")):
            folders.append(make_folder(Path(made, str(k)), FULL))
            (folders[-1] / place).chmod(0)
        output = Path(made, "output")
        code, printed = call(load_as_nobody, tuple(map(str, folders)), output)
        for path in Path(made).glob("*/train/**/"):
            path.chmod(0o700)
    lines = [line for line in printed.splitlines() if "cannot be read (Permission denied)" in line]
    assert code == 0 and len(lines) == 3, printed
    assert "0/train cannot" in lines[0] and "train/cat cannot" in lines[1]
    assert "001.jpg cannot be read (Permission denied); make it readable" in lines[2]


# Arguments of load_dataset, and the sentence.
ARGUMENTS = {
    "unknown_name": (("nosuch",), {}, "dataset=nosuch` cannot be opened .it is neither a folder"),
    "unknown_version": (("mnist:9.9.9",), {}, r"cannot be loaded at version 9.9.9, only: 3"),
    "unknown_config": (("mnist/foo",), {}, "BuilderConfig foo not found"),
    "not_prepared": (("oxford_flowers102",), {}, "is not in .*; run: python -c .*download_and_pre"),
    "of_texts": (("glue",), {}, "not one of image classification: it must have one image, and has"),
    "of_boxes": (("coco",), {}, "must have one label, and has none; take another data set, or"),
    "no_such_folder": (("./pictures",), {}, "a folder of pictures that is there, or an .npz file"),
    "strange_name": (("My Set",), {}, "dataset must be one of cifar100, .* got 'My Set'"),
    "size_of_npz": (
        ("a.npz",),
        {"image_size": 32},
        "`image_size=32` has no effect on",
    ),
    "share_of_planted": (
        ("planted",),
        {"validation_share": 0.2},
        "`validation_share=0.2` has no",
    ),
}


@pytest.mark.parametrize("case", ARGUMENTS)
def test_arguments(tmp_path, case):
    names, how, sentence = ARGUMENTS[case]
    refused(lambda: data.load_dataset(*names, str(tmp_path), **how), sentence)


def shard(root, split="train"):
    return next(Path(root).glob(f"small_set/*/*-{split}.*"))


def rewrite(records):
    """Puts records in the place of a training split of two."""
    return lambda root: write_records(shard(root), records)


JPEG = encode(IMAGE)
FEATURES = {"image": tfds.features.Image(shape=(None, None, 1), dtype=np.float32)}
# What is done to a set of tensorflow-datasets with two training records, how it is made, the
# sentence.
PREPARED = {
    "shard_missing": (lambda root: shard(root).unlink(), {}, "is not complete: .* is missing; run"),
    "shard_cut": (lambda root: cut(shard(root), -9)(Path("/")), {}, "ends within a record.*remove"),
    "shard_of_text": (
        lambda root: shard(root).write_bytes(b"text " * 99),
        {},
        "damaged .it ends",
    ),
    "shard_empty": (
        lambda root: shard(root).write_bytes(b""),
        {},
        "should hold 2 images, but 0",
    ),
    "record_lacking": (rewrite([example(JPEG, 0)]), {}, "should hold 2 images, but 1 are there"),
    "no_label": (rewrite([example(JPEG, b"0")] * 2), {}, "is damaged|labels must lie"),
    "no_image": (
        rewrite([example(JPEG, 0).replace(b"image", b"imago")] * 2),
        {},
        "Record 0 in .* cannot be read .no feature 'image'.*; remove .* and run",
    ),
    "no_picture": (rewrite([example(b"text", 0)] * 2), {}, "Record 0 in .* cannot be decoded"),
    "labels_outside": (rewrite([example(JPEG, 5)] * 2), {}, "labels must lie from 0 to 2; found 5"),
    "labels_some_below": (
        rewrite([example(JPEG, -1), example(JPEG, 2)]),
        {},
        "labels must lie from 0 to 2; found -1 to 2",
    ),
    "no_labels_at_all": (rewrite([example(JPEG, -1)] * 2), {}, "has no training split, only valid"),
    "no_training": (lambda root: None, {"counts": {"test": 3}}, "no training split, only test; ta"),
    "float_images": (lambda root: None, {"features": FEATURES}, "are float32; only bytes .uint8."),
    "array_record_of_text": (
        lambda root: shard(root).write_bytes(b"text " * 99),
        {"file_format": "array_record"},
        "array_record.* damaged .*; remove",
    ),
}


@pytest.mark.parametrize("case", PREPARED)
def test_sets_of_tensorflow_datasets(tmp_path, case):
    change, how, sentence = PREPARED[case]
    how = {"counts": {"train": 2, "validation": 3, "test": 3}, **how}
    where = make_tfds(tmp_path, how.pop("counts"), **how.pop("features", {}), **how)
    change(where)

    def load():
        found = data.load_dataset("small_set", where, image_size=16)
        list(SplitFeed(found.train, 2, preprocessing=NONE).evaluation())

    refused(load, sentence)


def test_a_prepared_folder_is_not_one_of_pictures(tmp_path):
    where = make_tfds(tmp_path, {"train": 3, "test": 3})
    for place in ("small_set", "small_set/1.0.0"):
        refused(lambda p=place: data.load_dataset(f"{where}/{p}"), "is a folder of tensorflow-data")
    (description,) = tmp_path.glob("small_set/*/features.json")
    description.write_text("{")
    refused(lambda: data.load_dataset("small_set", where), "cannot be opened .*; give a data set")


def test_constants_of_the_data():
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (50, 4, 4, 2), np.uint8)
    found = standardize(data.Split(images, np.zeros(50, int)))
    np.testing.assert_allclose(found.mean, (images / 255).mean(axis=(0, 1, 2)), atol=1e-4)
    np.testing.assert_allclose(found.deviation, (images / 255).std(axis=(0, 1, 2)), atol=1e-4)
    for wrong, sentence in (
        (images.astype("float32"), "`preprocessing=standardize:data` is for images of bytes"),
        (images[:, 0, 0], "is for images of bytes"),
        (np.ones_like(images), "a channel of the training images has one value"),
    ):
        refused(lambda x=wrong: standardize(data.Split(x, np.zeros(50, int))), sentence)


def test_a_program_says_it_in_one_line(tmp_path):
    root = make_folder(tmp_path / "mine", FULL)
    cut(f"{CAT}/001.jpg", 500)(root)
    group = ["--train_dir=t", f"--dataset={root}", "--model=convnet", "--image_size=32"]
    ((code, printed),) = run_programs([("group", group)], tmp_path)
    assert code == 1 and "Traceback" not in printed, printed
    last = printed.splitlines()[-1]
    assert last.startswith("group: error: ") and "cat/001.jpg cannot be decoded" in last
