"""The plain model of the flags."""

import logging
from types import SimpleNamespace

import keras
import numpy as np
import pytest
from absl import flags
from keras import layers

from splitnet_tf import models
from splitnet_tf.cli import base_model
from splitnet_tf.data import planted_groups


@pytest.fixture
def build(monkeypatch):
    """The model of some flags, of images of 64x64 pixels if asked, and its dropout layers."""
    data = planted_groups((2,), num_train=8, num_valid=8, num_test=8)

    def build(model="wrn-10-1", splits="2-2-2", keep=0.6, bn_no_scale=False, size=16):
        found = SimpleNamespace(model=model, splits=splits, ngroups1=1, ngroups2=1, ngroups3=1)
        found.dropout_keep_prob, found.bn_no_scale, found.basemodel = keep, bn_no_scale, None
        monkeypatch.setattr(base_model, "FLAGS", found)
        shape = SimpleNamespace(num_classes=8, input_shape=(size, size, 3))
        model = base_model.build_model(data if size == 16 else shape)
        return model, {x.name: x.rate for x in model.layers if isinstance(x, layers.Dropout)}

    return build


ALL = ["unit_1_0", "unit_2_0", "unit_3_0"]


@pytest.mark.parametrize(
    ("splits", "dropped"),
    [
        ("2-2-2", ["unit_2_0", "unit_3_0"]),
        ("1-2-2", ["unit_3_0"]),
        ("1-1-2", []),
        ("unit_2:2,unit_3:2,logits:2", ["unit_2_0", "unit_3_0"]),  # blocks
        ("unit_2_0_conv_2:2", ["unit_2_0", "unit_3_0"]),  # behind that unit's dropout
        ("unit_2_0_add:2", ["unit_3_0"]),  # no kernel of its unit is above
        ("init_conv:2", ALL),
        ("unit:2", ALL),
        ("unit_1_0:1,unit_3_0:2", ["unit_3_0"]),
    ],
)
def test_dropout_is_in_split_units(build, caplog, splits, dropped):
    with caplog.at_level(logging.WARNING):
        _, drops = build(splits=splits)
    assert drops == {f"{name}_dropout": pytest.approx(0.4) for name in dropped}
    assert ("none is split" in caplog.text) == (not dropped)


@pytest.mark.parametrize("keep", [None, 1.0])
@pytest.mark.parametrize("splits", ["unit_2:2,logits:2", "1-1-2"])
def test_no_dropout_asks_for_no_unit(build, caplog, splits, keep):
    with caplog.at_level(logging.WARNING):
        assert build(splits=splits, keep=keep)[1] == {}
    assert "none is split" not in caplog.text


def test_looking_for_the_unit_leaves_the_weights_as_they_are(build):
    keras.utils.set_random_seed(3)
    found, _ = build(splits="2-2-2")
    keras.utils.set_random_seed(3)
    wanted = models.wide_resnet(10, 1, 8, (16, 16, 3), 0.4, "unit_2_0")
    for one, other in zip(found.get_weights(), wanted.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize(
    ("keep", "rate", "recorded"), [(None, 0.5, 0.5), (1.0, None, 1.0), (0.9, 0.1, 0.9)]
)
def test_the_dropout_of_alexnet_is_that_of_the_flag(build, keep, rate, recorded):
    _, drops = build("alexnet", keep=keep, size=64)
    assert set(drops) == ({"dropout6", "dropout7"} if rate else set())
    assert all(found == pytest.approx(rate) for found in drops.values())
    assert base_model.keep_probability() == recorded


def test_other_models_keep_all_by_default(build):
    for name in ("wrn-10-1", "resnet-18", "mlp"):
        assert build(name, keep=None)[1] == {}
        assert base_model.keep_probability() == 1
    assert build("mlp", splits="2-2", keep=0.7)[1].keys() == {"dropout1", "dropout2"}
    _, drops = build("resnet-18", keep=0.7)
    assert drops == {"dropout": pytest.approx(0.3)}


@pytest.mark.parametrize(
    ("model", "keep", "bn_no_scale", "sentence"),
    [
        ("alexnet", 0.5, True, "does not take --bn_no_scale; add --bn_no_scale=false at the end."),
        ("resnet-18", 1.0, True, "does not take --bn_no_scale; add --bn_no_scale=false"),
        ("x.keras", 0.5, False, "does not take --dropout_keep_prob=0.5; add --dropout_keep_prob=1"),
        (
            "ResNet50",
            0.5,
            True,
            "does not take --dropout_keep_prob=0.5 and --bn_no_scale; add --dropout_keep_prob=1 "
            "--bn_no_scale=false at the end.",
        ),
    ],
)
def test_what_a_model_does_not_take_is_refused(build, model, keep, bn_no_scale, sentence):
    with pytest.raises(flags.Error) as caught:
        build(model, keep=keep, bn_no_scale=bn_no_scale)
    assert str(caught.value).startswith(f"--model={model} {sentence}")
