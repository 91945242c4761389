"""Preprocessing against slow, obvious NumPy and Keras' own ``preprocess_input``."""

import sys

import keras
import numpy as np
import pytest
from keras.applications import imagenet_utils

from splitnet_tf.errors import ArgumentError
from splitnet_tf.models.families import family_preprocessing
from splitnet_tf.models.registry import applications
from splitnet_tf.recipe.preprocessing import KINDS, NONE, Preprocessing, with_preprocessing
from tests.conftest import to_numpy
from tests.preprocessed import whitened

TEXTS = (
    *KINDS,
    "standardize:0.49,0.48,0.45:0.2,0.2,0.2",
    "standardize:0.5:0.25",
    "caffe:1.5,2,3",
)


def images(count=4, size=8, channels=3):
    return np.random.default_rng(0).integers(0, 256, (count, size, size, channels), np.uint8)


def expected(text, x):
    """The same in NumPy, in float64 where it may be."""
    kind, *constants = text.split(":")
    mean, deviation = ([*(np.array(c.split(","), float) for c in constants), None, None])[:2]
    x = x.astype("float64")
    if kind == "whiten":
        return whitened(x)
    if kind == "scale01":
        return x / 255
    if kind == "scale11":
        return x / 127.5 - 1
    if kind == "standardize":
        mean = np.array([0.485, 0.456, 0.406]) if mean is None else mean
        deviation = np.array([0.229, 0.224, 0.225]) if deviation is None else deviation
        return (x / 255 - mean) / deviation
    if kind == "caffe":
        mean = np.array([103.939, 116.779, 123.68]) if mean is None else mean
        return x[..., ::-1] - mean
    return x


@pytest.mark.parametrize("text", TEXTS)
def test_values_alone_and_as_stock_operations_around_a_model(text, tmp_path):
    given = images()
    given[0] = 7  # without contrast
    preprocessing = Preprocessing.parse(text)
    found = to_numpy(preprocessing(given))
    assert found.dtype == "float32"
    np.testing.assert_allclose(found, expected(text, given), rtol=1e-5, atol=1e-4)
    np.testing.assert_array_equal(to_numpy(preprocessing(given.astype("float32"))), found)
    inner = keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Flatten()])
    whole = with_preprocessing(inner, preprocessing)
    assert whole.input.dtype == "uint8" and whole.output.dtype == "float32"
    assert all(type(op).__module__.startswith("keras.") for op in whole.operations)
    whole.save(tmp_path / "whole.keras")
    again = keras.saving.load_model(tmp_path / "whole.keras", safe_mode=True)
    for model in (whole, again):
        np.testing.assert_allclose(to_numpy(model(given)), found.reshape(4, -1), atol=1e-5)


@pytest.mark.parametrize(("kind", "mode"), [("scale11", "tf"), ("caffe", "caffe")])
def test_as_keras_has_them(kind, mode):
    wanted = imagenet_utils.preprocess_input(images().astype("float32"), mode=mode)
    found = to_numpy(Preprocessing(kind)(images()))
    if keras.backend.backend() == "tensorflow":
        np.testing.assert_array_equal(found, wanted)
    np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-6)
    wanted = imagenet_utils.preprocess_input(images().astype("float32"), mode="torch")
    found = to_numpy(Preprocessing("standardize")(images()))
    np.testing.assert_allclose(found, wanted, rtol=1e-6, atol=1e-6)


def test_families_are_prepared_as_keras_applications_does():
    given = images().astype("float32")
    for name, function in applications().items():
        own = sys.modules[function.__module__].preprocess_input(given.copy())
        kind = family_preprocessing(function.__name__)
        found = to_numpy(Preprocessing(kind)(given))
        np.testing.assert_allclose(found, own, rtol=1e-5, atol=1e-5, err_msg=name)
    assert family_preprocessing("wide_resnet") is None


def test_images_of_any_size_are_whitened():
    pixels = keras.Input((None, None, 3), dtype="uint8")
    model = keras.Model(pixels, Preprocessing("whiten")(pixels))
    for size in (5, 8):
        found = to_numpy(model(images(2, size)))
        np.testing.assert_allclose(found, whitened(images(2, size)), atol=1e-5)


@pytest.mark.parametrize("text", TEXTS)
def test_texts_and_documents_come_back(text):
    found = Preprocessing.parse(text)
    assert str(found) == text
    assert Preprocessing.from_document(found.to_document()) == found
    assert found != Preprocessing.parse("scale11" if text != "scale11" else "none")


def test_defaults_are_constants_like_others():
    text = "standardize:0.485,0.456,0.406:0.229,0.224,0.225"
    assert Preprocessing.parse(text) == Preprocessing("standardize")
    assert str(Preprocessing.parse(text)) == "standardize"


@pytest.mark.parametrize(
    "text",
    ["", "white", "whiten:1", "standardize:0.5:0", "standardize:0.5,1:0.2", "standardize:0.5"]
    + ["standardize:a:b", "standardize:nan:1", "caffe:1,2:3", "scale01:1:2:3"],
)
def test_what_is_none_is_refused(text):
    with pytest.raises(ArgumentError, match="`preprocessing"):
        Preprocessing.parse(text)


@pytest.mark.parametrize(
    "document",
    [None, [], "whiten", {"kind": "white"}, {"kind": "caffe", "mean": ["1"]}]
    + [{"kind": "none", "mean": 3}, {"kind": "none", "more": 1}, {"kind": ["none"]}],
)
def test_documents_that_are_none_are_refused(document):
    with pytest.raises(ArgumentError, match="`preprocessing"):
        Preprocessing.from_document(document)


FLOATS = (images() / 255).astype("float32")


@pytest.mark.parametrize(
    ("text", "data", "sentence"),
    [
        ("scale01", FLOATS, "is for pixels from 0 to 255; these images are from 0 to"),
        ("scale11", FLOATS * 2 - 1, "from -1 to"),
        ("standardize", FLOATS * 6 - 3, "from -3 to"),
        ("standardize", FLOATS, "use `preprocessing=none`"),
        ("caffe", FLOATS, "is for pixels"),
        ("whiten", np.zeros((4, 9), "int32"), "is for images; data of shape .9,. are none"),
        ("scale01", np.zeros((4, 9), "float32"), "is for images"),
        ("caffe", images(channels=1), "is for images of 3 channels; these have 1"),
        ("standardize", images(channels=1), "is for images of 3 channels; these have 1"),
    ],
)
def test_contradictions_are_named(text, data, sentence):
    with pytest.raises(ArgumentError, match=sentence):
        Preprocessing.parse(text).check(data)


def test_what_suits_is_taken():
    for text, data in (
        ("whiten", FLOATS),
        ("none", FLOATS),
        ("none", np.zeros((4, 9), "int32")),
        ("caffe", images()),
        ("standardize:0.5:0.25", images(channels=1)),
        ("scale01", images().astype("float32")),
    ):
        Preprocessing.parse(text).check(data)


def test_token_ids_stay_as_they_are():
    ids = np.arange(6, dtype="int32").reshape(2, 3)
    assert NONE(ids).dtype == "int32"
    assert to_numpy(NONE(images())).dtype == "float32"


def test_a_model_of_several_inputs_is_refused():
    one, two = keras.Input((4,)), keras.Input((4,))
    model = keras.Model([one, two], keras.layers.Add()([one, two]))
    with pytest.raises(ArgumentError, match="has 2 inputs"):
        with_preprocessing(model, NONE)
