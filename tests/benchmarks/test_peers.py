"""Networks beside stock Keras and PyTorch: the same work by each."""

import keras
import numpy as np
import pytest
from keras import layers

import splitnet_tf as sn
from splitnet_tf.benchmarks.peers import measure_peers, our_work, stock_work
from splitnet_tf.benchmarks.torch_peer import torch_is_installed, torch_module
from tests.conftest import scramble

pytestmark = pytest.mark.skipif(
    keras.backend.backend() != "tensorflow", reason="the loop is TensorFlow's"
)


@pytest.mark.parametrize("bfloat16", [False, True])
def test_peers_compute_the_same(bfloat16):
    inputs = keras.Input((6, 6, 3))
    x = layers.ReLU()(layers.BatchNormalization()(layers.Conv2D(8, 3, name="a")(inputs)))
    x = layers.GlobalAveragePooling2D()(layers.Conv2D(8, 3, name="b")(x))
    model = scramble(keras.Model(inputs, layers.Dense(5, name="logits")(x)))
    images = np.random.default_rng(0).normal(size=(10, 6, 6, 3)).astype("float32")
    labels = np.arange(10, dtype="int32") % 5
    ours, stock = (make(model, images, labels, bfloat16) for make in (our_work, stock_work))
    wanted = model(images).numpy()
    for work in (ours, stock):
        apart = np.abs(work["forward"]() - wanted).max() / np.abs(wanted).max()
        assert 1e-4 < apart < 0.03 if bfloat16 else apart < 1e-5
    assert ours["step"]() == pytest.approx(stock["step"](), rel=0.03 if bfloat16 else 1e-4)


@pytest.mark.slow
def test_the_table():
    model = sn.models.wide_resnet(10, 0.25, 4, (8, 8, 3))
    found = measure_peers(model, "2-2-2", batch_size=4, repeats=3, name="wrn-10-0.25")
    text, document = str(found), found.to_document()
    assert len(document["rows"]) == 8 and text.count("bfloat16") == 4
    assert all(row["ms_per_image"]["ours"] > 0 for row in document["rows"])
    assert ("PyTorch is not installed here" in text) != torch_is_installed()


@pytest.mark.skipif(not torch_is_installed(), reason="PyTorch is not installed")
def test_the_translation_to_pytorch():
    """Trees too; without strides both read the same positions."""
    import torch

    inputs = keras.Input((6, 6, 3))
    x = layers.Conv2D(8, 3, padding="same", use_bias=False, name="a")(inputs)
    y = layers.ReLU()(layers.BatchNormalization(name="norm")(x))
    x = layers.Add()([layers.Conv2D(8, 3, padding="same", name="b")(y), x])
    x = layers.GlobalAveragePooling2D()(x)
    model = scramble(keras.Model(inputs, layers.Dense(6, name="logits")(x)))
    plan = sn.SplitPlan.from_sections(model, [("logits", 2)])
    tree = sn.split_model(model, sn.Grouping.even(plan), plan).model
    images = np.random.default_rng(0).normal(size=(4, 6, 6, 3)).astype("float32")
    for network in (model, tree):
        with torch.inference_mode():
            found = torch_module(network).eval()(torch.from_numpy(images.transpose(0, 3, 1, 2)))
        np.testing.assert_allclose(found.numpy(), network(images), rtol=1e-4, atol=1e-4)
