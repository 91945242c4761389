"""Choice of the preprocessing, row by row, and where it is read from."""

import json

import keras
import numpy as np
import pytest
from keras import layers

import splitnet_tf as sn
from splitnet_tf.data import Dataset, Split, planted_groups
from splitnet_tf.errors import ArgumentError, RunError
from splitnet_tf.recipe.preprocessing import NONE, WHITEN, Preprocessing
from splitnet_tf.stages.base import base_model
from splitnet_tf.stages.preprocessing import (
    Known,
    check_same,
    choose_preprocessing,
    known_of,
    notes_of,
    preprocessing_for,
)
from splitnet_tf.storage.json_files import write_json
from splitnet_tf.storage.models import load_model, model_notes, save_model

SCALE01 = Preprocessing("scale01")


def model(*first, name="mine", shape=(16, 16, 3)):
    """A classifier that begins with the layers or functions given."""
    x = inputs = keras.Input(shape)
    for layer in first:
        x = layer(x)
    if len(x.shape) > 2:
        x = layers.Flatten()(x)
    return keras.Model(inputs, layers.Dense(4, name="logits")(x), name=name)


def backbone(name):
    return keras.Sequential([keras.Input((16, 16, 3)), layers.Conv2D(4, 3)], name=name)


def file(made):
    return Known("`model=x.keras`", model=lambda: made)


KNOWN = Known("`base=runs/g`", record=SCALE01)
FORMER = Known("`base=runs/g`", former=True)
NAMED = Known("`model=a`")
RESCALED = layers.Rescaling(1 / 255)


def keras_scale(x):
    return keras.applications.mobilenet_v2.preprocess_input(x)


def keras_caffe(x):
    return keras.applications.resnet50.preprocess_input(x)


ROWS = {
    "given": (file(model()), SCALE01, True, None, "scale01"),
    "given as recorded": (KNOWN, SCALE01, True, None, "scale01"),
    "recorded": (KNOWN, None, True, None, "scale01"),
    "recorded before by name": (KNOWN, None, True, "ResNet50", "scale01"),
    "of a former run": (FORMER, None, True, None, "whiten"),
    "of this package": (NAMED, None, True, "wrn-16-8", "whiten"),
    "of this package by depth": (NAMED, None, True, "resnet-50", "whiten"),
    "no images": (NAMED, None, False, "mlp", "none"),
    "no images from a file": (file(model(shape=(9,))), None, False, "x.keras", "none"),
    "caffe by name": (NAMED, None, True, "ResNet50", "caffe"),
    "torch by name": (NAMED, None, True, "densenet121", "standardize"),
    "tf by name": (NAMED, None, True, "MobileNetV2", "scale11"),
    "its own by name": (NAMED, None, True, "EfficientNetV2B0", "none"),
    "Rescaling": (file(model(RESCALED)), None, True, None, "none"),
    "Normalization": (
        file(model(layers.Normalization(mean=1, variance=4))),
        None,
        True,
        None,
        "none",
    ),
    "after augmentation": (
        file(model(layers.RandomFlip(), layers.RandomRotation(0.1), RESCALED)),
        None,
        True,
        None,
        "none",
    ),
    "after resizing": (file(model(layers.Resizing(8, 8), RESCALED)), None, True, None, "none"),
    "preprocess_input inside": (file(model(keras_scale)), None, True, None, "none"),
    "caffe inside": (file(model(keras_caffe)), None, True, None, "none"),
    "Embedding": (
        file(model(layers.Embedding(9, 4), shape=(6,))),
        None,
        False,
        None,
        "none",
    ),
    "family by name of the model": (file(model(name="resnet50")), None, True, None, "caffe"),
    "family by its first layers": (
        file(model(layers.RandomFlip(), backbone("vgg16"))),
        None,
        True,
        None,
        "caffe",
    ),
}


@pytest.mark.parametrize("row", ROWS)
def test_row(row):
    known, given, images, name, expected = ROWS[row]
    found, reason = choose_preprocessing(known, given, images, name)
    assert str(found) == expected
    assert reason.startswith("as") or "default" in reason


@pytest.mark.parametrize(
    "shape, kind, expected",
    [
        ((65, 72, 3), np.uint8, "standardize"),
        ((64, 72, 3), np.uint8, "whiten"),
        ((72, 72, 1), np.uint8, "whiten"),
        ((72, 72, 3), np.float32, "whiten"),
    ],
)
def test_networks_of_ours_see_large_pictures_in_colour(shape, kind, expected):
    split = Split(np.zeros((2, *shape), kind), np.arange(2))
    dataset = Dataset("x", split, split, split, ("a", "b"))
    found = preprocessing_for(Known("`model=wrn-10-1`"), None, dataset, "wrn-10-1")
    assert str(found) == expected


ERRORS = {
    "given another than recorded": (KNOWN, NONE, "`preprocessing=none`: `base=runs/g` was trained"),
    "given another than a former run": (FORMER, NONE, "was trained with `preprocessing=whiten`"),
    "nothing known": (file(model()), None, "`model=x.keras`: nothing says how its images are prep"),
    "nothing but augmentation": (file(model(layers.RandomFlip())), None, "nothing says"),
    "a slice": (file(model(lambda x: x[:, ::2])), None, "nothing says"),
    "a family without its layers": (file(model(name="efficientnetv2-b0")), None, "nothing says"),
    "several inputs": (
        file(keras.Model([i := keras.Input((4,)), keras.Input((4,))], layers.Dense(2)(i))),
        None,
        "nothing says",
    ),
}


@pytest.mark.parametrize("row", ERRORS)
def test_error(row):
    known, given, sentence = ERRORS[row]
    with pytest.raises(ArgumentError, match=sentence):
        choose_preprocessing(known, given, True)


def test_a_file_says_it_and_stays_a_file_of_keras(tmp_path):
    path = tmp_path / "made.keras"
    save_model(model(), path, notes_of("standardize:0.5:0.25"))
    assert known_of("model", path).record == Preprocessing.parse("standardize:0.5:0.25")
    x = np.ones((2, 16, 16, 3))
    wanted = keras.saving.load_model(path)(x)
    np.testing.assert_array_equal(load_model(path)(x), wanted)
    save_model(model(), path)
    assert model_notes(path) == {} and known_of("model", path).record is None


def test_notes_that_were_changed_are_refused(tmp_path):
    path = tmp_path / "made.keras"
    save_model(model(), path, notes_of("whiten"))
    path.write_bytes(path.read_bytes().replace(b"whiten", b"whitem"))
    for read in (model_notes, load_model, lambda p: known_of("model", p)):
        with pytest.raises(RunError, match="its notes: it was changed after it was written"):
            read(path)
    save_model(model(), path, {"preprocessing": {"kind": "white"}})
    with pytest.raises(RunError, match=r"made\.keras: `preprocessing` must be one of whiten"):
        known_of("model", path)
    save_model(model(), path, {"long": "x" * 20_000})
    with pytest.raises(RunError, match="its notes of .* bytes are longer than 16384"):
        load_model(path)


@pytest.mark.parametrize(
    ("config", "record", "former"),
    [
        ({"train_dir": "x", "augment": True}, None, True),
        ({"train_dir": "x", "preprocessing": "scale11"}, Preprocessing("scale11"), False),
        ({"starting_weights": "0", "epochs": 2}, None, False),
        ({"starting_weights": "0", "preprocessing": "none"}, NONE, False),
    ],
)
def test_a_run_says_it(config, record, former, tmp_path):
    """Programs of before whitened; nobody knows what a run from Python was fed."""
    write_json(tmp_path / "config.json", config)
    model().save(tmp_path / "grouped.keras")
    for path in (tmp_path, tmp_path / "grouped.keras"):
        known = known_of("base", path)
        assert (known.record, known.former) == (record, former)
    model().save(tmp_path / "other.keras")  # which only lies there
    known = known_of("base", tmp_path / "other.keras")
    assert known.record is None and not known.former


def test_a_teacher_is_fed_what_the_network_is():
    unknown, scales = file(model()), file(model(layers.Rescaling(1 / 255)))
    check_same(scales, NONE, True)
    check_same(unknown, WHITEN, True, given=True)
    check_same(unknown, NONE, False)  # no images
    with pytest.raises(ArgumentError, match="give its run folder, or `preprocessing=whiten` if"):
        check_same(unknown, WHITEN, True)
    for given in (False, True):
        with pytest.raises(ArgumentError, match="prepared by `preprocessing=none`, the network by"):
            check_same(scales, WHITEN, True, given)


def test_data_that_do_not_suit_are_refused():
    data = planted_groups((2,), 2, num_train=8, num_valid=8, num_test=8)
    assert preprocessing_for(NAMED, None, data, "mlp") == WHITEN
    with pytest.raises(ArgumentError, match="is for images of 2 channels; these have 3"):
        preprocessing_for(NAMED, Preprocessing("standardize", (0.1, 0.2), (1, 1)), data, "mlp")


@pytest.mark.parametrize("raw", [True, False])
def test_families_that_scale_do_so_where_they_are_fed_raw_pixels(raw):
    found = base_model("MobileNetV3Small", [("logits", 2)], 4, (32, 32, 3), raw=raw)
    assert any(isinstance(x, layers.Rescaling) for x in found.layers) == raw


def test_python_keeps_what_it_is_told(tmp_path, arrays, network):
    recipe = sn.GroupingRecipe(epochs=1, warmup_epochs=0.2, rate=0.05)
    grouped = sn.group_model(network, [("logits", 2)])
    data = tuple((x[:160], y[:160]) for x, y in arrays)
    for said, record in (("scale11", Preprocessing("scale11")), (None, None)):
        run = tmp_path / str(said)
        how = {"method": "balanced", "preprocessing": said, "run": run}
        sn.learn_groups(grouped, *data[:2], recipe, **how)
        assert known_of("base", run).record == record and not known_of("base", run).former
        assert json.loads((run / "result.json").read_text()).get("preprocessing") == said
        assert json.loads((run / "config.json").read_text()).get("preprocessing") == said
