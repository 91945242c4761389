"""LeNet, ConvNet, the MLP of sizes and the ResNets of CIFAR: weights and multiply-adds by hand."""

import keras
import numpy as np
import pytest

import splitnet_tf as sn
from splitnet_tf import models
from splitnet_tf.errors import ArgumentError
from splitnet_tf.models.short_forms import parse_splits


def counted(model):
    """Weights of kernels and multiply-adds of each layer, without biases."""
    rows = {}
    for row in sn.cost(model).layers:
        bias = model.get_layer(row.name).units if row.kind == "Dense" else 0
        rows[row.name] = (row.params - bias, (row.flops - bias) // 2)
    return rows


def total(model):
    rows = counted(model).values()
    return sum(w for w, _ in rows), sum(m for _, m in rows)


def test_lenet_is_that_of_caffe():
    model = models.build("lenet")
    assert counted(model) == {
        "conv1": (500, 288_000),
        "conv2": (25_000, 1_600_000),
        "fc1": (400_000, 400_000),
        "logits": (5_000, 5_000),
    }
    assert total(model) == (430_500, 2_293_000)
    kinds = [type(layer).__name__ for layer in model.layers]
    assert kinds.count("ReLU") == 1 and "Activation" not in kinds
    small = models.lenet(filters=(5, 19), hidden=7, activation="relu", dropout=0.5)
    assert [w.shape[-1] for w in small.trainable_weights[::2]] == [5, 19, 7, 10]
    assert {"act1", "dropout"} < {layer.name for layer in small.layers}


def test_convnet_is_that_of_the_paper():
    rows = counted(models.build("convnet"))
    assert rows == {
        "conv1": (2_400, 32 * 32 * 2_400),
        "conv2": (25_600, 16 * 16 * 25_600),
        "conv3": (51_200, 8 * 8 * 51_200),
        "logits": (10_240, 10_240),
    }
    quick = counted(models.build("convnet-quick"))
    assert quick["fc1"] == (65_536, 65_536) and quick["logits"] == (640, 640)
    pools = [type(layer).__name__ for layer in models.convnet().layers if "pool" in layer.name]
    assert pools == ["MaxPooling2D", "AveragePooling2D", "AveragePooling2D"]


@pytest.mark.parametrize("shortcut, projections", [("identity", 0), ("projection", 2560)])
@pytest.mark.parametrize("depth, weights", [(20, 268_336), (32, 461_872), (56, 848_944)])
def test_resnets_of_cifar(depth, weights, shortcut, projections):
    """He et al., Table 6, counts 0.27, 0.46 and 0.85 million."""
    model = models.build(f"resnet-{depth}", shortcut=shortcut)
    units = (depth - 2) // 6
    by_hand = 9 * 3 * 16 + 9 * 16 * 16 * 2 * units + 640
    for narrow, wide in ((16, 32), (32, 64)):
        by_hand += 9 * narrow * wide + 9 * wide * wide * (2 * units - 1)
    assert by_hand == weights
    found = counted(model)
    assert sum(w for w, _ in found.values()) == weights + projections
    assert model.get_layer(f"unit_3_{units - 1}_relu").output.shape == (None, 8, 8, 64)
    assert [n for n in found if n.endswith("shortcut")] == (
        ["unit_2_0_shortcut", "unit_3_0_shortcut"] if projections else []
    )


def test_an_identity_takes_every_second_position_and_adds_zeros():
    model = models.resnet_cifar(8, input_shape=(8, 8, 3))
    add = model.get_layer("unit_2_0_add")
    norm = model.get_layer("unit_2_0_bn_2")
    below = model.get_layer("unit_1_0_relu").output
    parts = keras.Model(model.input, [below, norm.output, add.output])
    x = np.random.default_rng(0).normal(size=(2, 8, 8, 3)).astype("float32")
    narrow, branch, summed = (keras.ops.convert_to_numpy(p) for p in parts(x))
    expected = branch.copy()
    expected[..., :16] += narrow[:, ::2, ::2]
    np.testing.assert_allclose(summed, expected, rtol=1e-5, atol=1e-5)


def test_resnets_of_both_kinds_by_name():
    assert models.build("resnet-20x0.5", 10).get_layer("unit_3_2_conv_2").filters == 32
    assert models.build("resnet-18", 10, (32, 32, 3)).get_layer("unit_4_1_conv_2").filters == 512
    assert parse_splits("2-2-4", "resnet-20")[0] == ("unit_2_0", 2)
    assert parse_splits("2-2-4", "resnet-50")[0] == ("unit_3_0", 2)
    assert parse_splits("2-2-4", "resnet-18x2")[0] == ("unit_3_0", 2)


def test_an_mlp_by_its_sizes():
    model = models.build("mlp-784-500-300-10", 10, (28, 28, 1))
    assert counted(model) == {
        "fc1": (392_000, 392_000),
        "fc2": (150_000, 150_000),
        "logits": (3_000, 3_000),
    }
    assert models.build("mlp-4-3").input_shape == (None, 4)
    assert models.settings_of("mlp-4-3").keys() >= {"num_classes", "input_shape", "dropout"}


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (lambda: models.resnet_cifar(21), "depth must be 6n [+] 2 .*; got 21"),
        (lambda: models.resnet_cifar(shortcut="none"), "shortcut must be one of identity"),
        (lambda: models.resnet_cifar(width=0), "width must be from 0.1 to 100; got 0"),
        (lambda: models.convnet("large"), "kind must be one of full, quick; got 'large'"),
        (lambda: models.build("mlp-784-10", 10, (8, 8)), "has 784 inputs, the data 64; change"),
        (lambda: models.build("mlp-784-10", 100), "has 10 classes, the data 100; change"),
        (lambda: models.build("mlp-784-0-10"), "each 1 or more; got [(]784, 0, 10[)]"),
        (lambda: models.build("resnet-21"), "depth must be one of 18, 34, 50; got 21"),
        (lambda: parse_splits("2-2", "convnet"), "model 'convnet' has no short form"),
    ],
)
def test_wrong_settings_are_named(call, sentence):
    with pytest.raises((ValueError, ArgumentError), match=sentence):
        call()
