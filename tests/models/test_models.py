"""Plain models: their layers by name, their sizes, what they refuse."""

import keras
import numpy as np
import pytest

from splitnet_tf import models


def test_wide_resnet_has_the_names_of_2017():
    model = models.wide_resnet(16, 1, 10, (16, 16, 3), dropout=0.3, dropout_from="unit_3_0")
    names = [layer.name for layer in model.layers]
    for name in ("init_conv", "unit_1_0_conv_1", "unit_3_1_add", "unit_last_pool", "logits"):
        assert name in names
    assert [n for n in names if n.endswith("dropout")] == ["unit_3_0_dropout", "unit_3_1_dropout"]
    assert {n for n in names if n.endswith("shortcut")} == {
        "unit_2_0_shortcut",
        "unit_3_0_shortcut",
    }
    assert model.get_layer("unit_2_0_conv_1").strides == (2, 2)
    assert model.get_layer("unit_3_1_conv_2").filters == 64


def test_batch_norm_can_do_without_scale():
    model = models.wide_resnet(10, 1, 10, (8, 8, 3), bn_scale=False)
    norms = [x for x in model.layers if isinstance(x, keras.layers.BatchNormalization)]
    assert norms and all(not x.scale for x in norms)
    assert {(x.momentum, x.epsilon) for x in norms} == {(0.9, 1e-5)}


def test_kernels_start_with_the_variance_of_he():
    kernel = models.wide_resnet(10, 4).get_layer("unit_3_0_conv_2").kernel
    assert np.std(kernel) == pytest.approx(np.sqrt(2 / (9 * 256)), rel=0.02)


def sizes(model):
    """Weights of convolutions (without bias) and dense layers (with it)."""
    total = 0
    for layer in model.layers:
        if isinstance(layer, keras.layers.Conv2D):
            total += int(np.prod(layer.kernel.shape))
        elif isinstance(layer, keras.layers.Dense):
            total += layer.count_params()
    return total


def test_weights_of_wide_resnet_16_8_by_hand():
    c = (128, 256, 512)
    first = 27 * 16
    stage_1 = 9 * 16 * c[0] + 3 * 9 * c[0] ** 2 + 16 * c[0]
    stage_2 = 9 * c[0] * c[1] + 3 * 9 * c[1] ** 2 + c[0] * c[1]
    stage_3 = 9 * c[1] * c[2] + 3 * 9 * c[2] ** 2 + c[1] * c[2]
    by_hand = first + stage_1 + stage_2 + stage_3 + 512 * 100 + 100
    assert by_hand == 11_000_340
    assert sizes(models.wide_resnet(16, 8)) == by_hand


def test_a_width_need_not_be_whole():
    model = models.build("WRN-10-0.3125", 10, (8, 8, 3))
    assert model.name == "wrn_10_0.3125"
    assert [model.get_layer(f"unit_{s}_0_conv_2").filters for s in (1, 2, 3)] == [5, 10, 20]


def test_weights_of_alexnet_by_hand():
    convolutions = 121 * 3 * 96 + 25 * 96 * 256 + 9 * (256 * 384 + 384 * 384 + 384 * 256)
    dense = 6 * 6 * 256 * 4096 + 4096 + 4096 * 4096 + 4096 + 4096 * 1000 + 1000
    model = models.alexnet()
    assert model.get_layer("conv1").output.shape == (None, 56, 56, 96)
    assert sizes(model) == convolutions + dense == 62_376_968


def test_models_by_name():
    assert models.build("WRN-10-2", 7, (8, 8, 3)).output_shape == (None, 7)
    assert models.build("mlp", 5, (4, 4, 3), hidden=(8,)).output_shape == (None, 5)
    assert models.build("alexnet", 6, (64, 64, 3), width=0.05).output_shape == (None, 6)


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (lambda: models.wide_resnet(depth=15), "depth must be 6n [+] 4 .*; got 15"),
        (lambda: models.wide_resnet(dropout_from="unit_9_0"), "dropout_from must be one of unit_1"),
        (lambda: models.build("wrn-16-8", depth=10), "wrn-16-8 has its depth in its name"),
        (lambda: models.build("vgg", 10, (8, 8, 3)), "model must be one of .*; got 'vgg'"),
    ],
)
def test_wrong_settings_are_named(call, sentence):
    with pytest.raises(ValueError, match=sentence):
        call()
