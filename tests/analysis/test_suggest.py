"""Where a model can be cut."""

import keras
import pytest
from keras import layers

import splitnet_tf as sn
from splitnet_tf.analysis import suggest_cuts
from splitnet_tf.errors import ArgumentError
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


def test_cuts_within_a_budget():
    """The shallowest first; every cut left is within, every cut left out is not."""
    found = sn.suggest_cuts(sn.models.wide_resnet(10, 1, num_classes=10))
    for name in ("params", "flops"):
        whole = getattr(found, name)
        for share in (0.6, 0.8, 0.95):
            kept = found.within(**{f"max_{name}": f"{share}x"}).cuts
            assert set(kept) == {c for c in found.cuts if getattr(c, name) <= share * whole}
            assert [c.kernels for c in kept] == sorted(c.kernels for c in kept)
    least = min(cut.params for cut in found.cuts)
    with pytest.raises(ArgumentError, match=f"`max_params=9`: no cut in 2 groups .* {least:,};"):
        found.within("9")
    with pytest.raises(ArgumentError, match="a share such as 0.5x; got 'half'"):
        found.within(max_flops="half")


def test_a_budget_where_nothing_can_be_cut():
    inputs = keras.Input((8,))
    found = sn.suggest_cuts(keras.Model(inputs, layers.Dense(1, name="logits")(inputs)))
    with pytest.raises(ArgumentError, match="`model`: it cannot be cut in 2 groups: "):
        found.within(max_params="0.5x")
