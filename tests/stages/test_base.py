"""The plain model that a grouping starts from."""

import logging

import keras
import numpy as np
import pytest
from keras import layers

from splitnet_tf import models
from splitnet_tf.errors import ArgumentError
from splitnet_tf.models.short_forms import parse_splits
from splitnet_tf.stages.base import base_model, own_keep_probability


def build(name="wrn-10-1", splits="2-2-2", keep=0.6, bn_no_scale=False, size=16):
    """The model, for images of 64x64 pixels if asked, and the rates of its dropout layers."""
    model = base_model(
        name,
        parse_splits(splits, name),
        8,
        (size, size, 3),
        dropout_keep_prob=keep,
        bn_no_scale=bn_no_scale,
    )
    return model, {x.name: x.rate for x in model.layers if isinstance(x, layers.Dropout)}


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
def test_dropout_is_in_split_units(caplog, splits, dropped):
    with caplog.at_level(logging.WARNING):
        _, drops = build(splits=splits)
    assert drops == {f"{name}_dropout": pytest.approx(0.4) for name in dropped}
    assert ("none is split" in caplog.text) == (not dropped)


@pytest.mark.parametrize("keep", [None, 1.0])
@pytest.mark.parametrize("splits", ["unit_2:2,logits:2", "1-1-2"])
def test_no_dropout_asks_for_no_unit(caplog, splits, keep):
    with caplog.at_level(logging.WARNING):
        assert build(splits=splits, keep=keep)[1] == {}
    assert "none is split" not in caplog.text


def test_looking_for_the_unit_leaves_the_weights_as_they_are():
    keras.utils.set_random_seed(3)
    found, _ = build(splits="2-2-2")
    keras.utils.set_random_seed(3)
    wanted = models.wide_resnet(10, 1, 8, (16, 16, 3), 0.4, "unit_2_0")
    for one, other in zip(found.get_weights(), wanted.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize(
    ("keep", "rate", "recorded"), [(None, 0.5, 0.5), (1.0, None, 1.0), (0.9, 0.1, 0.9)]
)
def test_the_dropout_of_alexnet_is_that_of_the_flag(keep, rate, recorded):
    _, drops = build("alexnet", "1-1-2", keep=keep, size=64)
    assert set(drops) == ({"dropout6", "dropout7"} if rate else set())
    assert all(found == pytest.approx(rate) for found in drops.values())
    assert recorded == (own_keep_probability("alexnet") if keep is None else keep)


def test_other_models_keep_all_by_default():
    for name in ("wrn-10-1", "resnet-18", "mlp"):
        splits = "2-2" if name == "mlp" else "2-2-2"
        assert build(name, splits, keep=None)[1] == {}
        assert own_keep_probability(name) == 1
    assert build("mlp", splits="2-2", keep=0.7)[1].keys() == {"dropout1", "dropout2"}
    _, drops = build("resnet-18", keep=0.7)
    assert drops == {"dropout": pytest.approx(0.3)}


@pytest.mark.parametrize(
    ("model", "keep", "bn_no_scale", "sentence"),
    [
        ("alexnet", 0.5, True, "does not take `bn_no_scale`; add `bn_no_scale=False` at the end."),
        ("resnet-18", 1.0, True, "does not take `bn_no_scale`; add `bn_no_scale=False`"),
        ("x.keras", 0.5, False, "does not take `dropout_keep_prob=0.5`; add `dropout_keep_prob=1`"),
        (
            "ResNet50",
            0.5,
            True,
            "does not take `dropout_keep_prob=0.5` and `bn_no_scale`; add `dropout_keep_prob=1` "
            "`bn_no_scale=False` at the end.",
        ),
    ],
)
def test_what_a_model_does_not_take_is_refused(model, keep, bn_no_scale, sentence):
    with pytest.raises(ArgumentError) as caught:
        build(model, "logits:2", keep=keep, bn_no_scale=bn_no_scale)
    assert str(caught.value).startswith(f"`model={model}` {sentence}")
