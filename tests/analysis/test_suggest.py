"""Where a model can be cut."""

import keras
import pytest
from keras import layers

import splitnet_tf as sn
from splitnet_tf.analysis import suggest_cuts
from tests.conftest import small_alexnet


def test_each_cut_is_what_the_cost_of_its_section_says():
    model = small_alexnet()
    whole = sn.cost(model)
    cuts, refused = suggest_cuts(model)
    assert [c.start for c in cuts] == ["conv1", "conv2", "fc6", "fc7", "fc8"]
    assert not refused
    for cut in cuts:
        found = sn.cost(model, sn.SplitPlan.from_sections(model, [(cut.start, 2)]))
        assert (cut.params, cut.flops) == (found.params, found.flops)
        above = [r for r in whole.layers if r.name >= cut.start]  # by luck of the alphabet
        assert cut.kernels == len(above)
        assert cut.params_above == pytest.approx(sum(r.params for r in above) / whole.params)
        assert cut.flops_above == pytest.approx(sum(r.flops for r in above) / whole.flops)


def test_what_cannot_be_cut_is_listed_with_the_reason():
    inputs = keras.Input((8,))
    x = layers.Dense(6, name="block_a")(inputs)
    x = layers.LayerNormalization(name="norm")(x)
    x = layers.Dense(6, name="block_b")(x)
    cuts, refused = suggest_cuts(keras.Model(inputs, layers.Dense(4, name="logits")(x)))
    assert [c.start for c in cuts] == ["block_b", "logits"]
    assert [r.start for r in refused] == ["block", "block_a"]
    assert all("'norm' (LayerNormalization) needs all channels" in r.reason for r in refused)
