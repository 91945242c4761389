"""The plain model of the flags."""

import logging
from types import SimpleNamespace

import pytest
from keras import layers

from splitnet_tf.cli import base_model
from splitnet_tf.data import planted_groups


@pytest.mark.parametrize(
    ("splits", "dropped"),
    [
        ("2-2-2", ["unit_2_0", "unit_3_0"]),
        ("1-2-2", ["unit_3_0"]),
        ("1-1-2", []),
        ("unit_2:2,logits:2", ["unit_2_0", "unit_3_0"]),
        ("unit_3_0_conv_2:2,logits:2", ["unit_3_0"]),
        ("init_conv:2,unit_3:2", ["unit_1_0", "unit_2_0", "unit_3_0"]),
        ("unit_1:1,unit_3:2", ["unit_3_0"]),
        ("unit_last_bn:2,logits:2", []),
    ],
)
def test_dropout_is_in_split_units(monkeypatch, caplog, splits, dropped):
    found = SimpleNamespace(model="wrn-10-1", splits=splits, ngroups1=1, ngroups2=1, ngroups3=1)
    found.dropout_keep_prob, found.bn_no_scale, found.basemodel = 0.6, False, None
    monkeypatch.setattr(base_model, "FLAGS", found)
    data = planted_groups((2,), num_train=8, num_valid=8, num_test=8)
    with caplog.at_level(logging.WARNING):
        model = base_model.build_model(data)
    drops = [layer for layer in model.layers if isinstance(layer, layers.Dropout)]
    assert [layer.name for layer in drops] == [f"{name}_dropout" for name in dropped]
    assert all(layer.rate == pytest.approx(0.4) for layer in drops)
    assert ("none is split" in caplog.text) == (not dropped)


@pytest.mark.parametrize(("keep", "rate"), [(1.0, 0.0), (0.7, 0.3)])
def test_alexnets_own_dropout_is_that_of_the_flag(monkeypatch, keep, rate):
    found = SimpleNamespace(model="alexnet", dropout_keep_prob=keep, bn_no_scale=False)
    found.basemodel, asked = None, {}
    monkeypatch.setattr(base_model, "FLAGS", found)
    monkeypatch.setattr(base_model, "choose_model", lambda *_, **more: asked.update(more))
    base_model.build_model(planted_groups((2,), num_train=8, num_valid=8, num_test=8))
    assert asked == {"dropout": pytest.approx(rate)}
