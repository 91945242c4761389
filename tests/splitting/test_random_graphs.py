"""Promise 2 for random functional graphs and random plans: exact, or refused with a sentence.

``make test-long`` draws 200 of them.
"""

import keras
import numpy as np
import pytest
from hypothesis import given, note, settings
from hypothesis import strategies as st
from keras import layers, ops

import splitnet_tf as sn
from tests.drawn import Drawn
from tests.splitting.test_split_model import check_split

OUTCOMES = {"exact": 0, "refused": 0}


class DrawnSplit(Drawn):
    """Operations of the networks that are split."""

    def __init__(self, draw):
        super().__init__(draw)
        self.kernels = []

    def name(self, kind):
        self.kernels.append(f"{kind}{len(self.kernels)}")
        return self.kernels[-1]

    def make_conv(self, x):
        strides = self.draw(st.sampled_from([1, 1, 1, 2]))
        size = self.draw(st.sampled_from([1, 3]))
        return layers.Conv2D(
            self.draw(st.integers(4, 7)),
            size,
            strides=strides,
            padding="same",
            use_bias=self.draw(st.booleans()),
            activation=self.draw(st.sampled_from([None, "relu", "tanh"])),
            name=self.name("conv"),
        )(x)

    def make_conv_like(self, x):
        """Keeps the shape of a tensor there is, so that sums are found."""
        channels = self.same(x).shape[-1]
        return layers.Conv2D(channels, 3, padding="same", name=self.name("same"))(x)

    def make_shared(self, x):
        key = x.shape[-1]
        if key not in self.shared:
            self.shared[key] = layers.Conv2D(key, 1, name=self.name("shared"))
        return self.shared[key](x)

    def make_transposed(self, x):
        return layers.Conv2DTranspose(
            self.draw(st.integers(4, 7)), 3, padding="same", name=self.name("transposed")
        )(x)

    def make_separable(self, x):
        multiplier = self.draw(st.sampled_from([1, 2]))
        return layers.SeparableConv2D(
            5, 3, padding="same", depth_multiplier=multiplier, name=self.name("separable")
        )(x)

    def make_depthwise(self, x):
        multiplier = self.draw(st.sampled_from([1, 1, 2])) if x.shape[-1] < 13 else 1
        return layers.DepthwiseConv2D(3, padding="same", depth_multiplier=multiplier)(x)

    def make_grouped(self, x):
        """A convolution of groups, with as many filters as channels or twice as many."""
        channels = x.shape[-1]
        groups = self.draw(st.sampled_from([g for g in range(1, 13) if channels % g == 0]))
        filters = channels * (self.draw(st.integers(1, 2)) if channels < 13 else 1)
        name = self.name("joint") if groups == 1 else None
        return layers.Conv2D(filters, 3, groups=groups, padding="same", name=name)(x)

    def make_norm(self, x):
        return layers.BatchNormalization()(x)

    def make_other_norm(self, x):
        groups = [g for g in range(1, x.shape[-1] + 1) if x.shape[-1] % g == 0]
        groups = self.draw(st.sampled_from([None, *groups]))
        kind = layers.GroupNormalization(groups) if groups else layers.LayerNormalization()
        return kind(x)

    def make_activation(self, x):
        return self.draw(st.sampled_from([layers.ReLU(), layers.LeakyReLU(), ops.silu]))(x)

    def make_pool(self, x):
        if x.shape[1] < 2:
            return layers.UpSampling2D(2)(x)
        kind = self.draw(st.sampled_from([layers.MaxPooling2D, layers.AveragePooling2D]))
        return kind(2)(x)

    def make_sum(self, x):
        kind = self.draw(st.sampled_from([layers.Add, layers.Multiply, layers.Maximum]))
        return kind()([x, self.same(x, x.shape[-1])])

    def make_concatenation(self, x):
        other = self.same(x)
        return x if x.shape[-1] + other.shape[-1] > 24 else layers.Concatenate()([x, other])

    def make_gate(self, x):
        y = ops.mean(x, axis=(1, 2), keepdims=True)
        y = layers.Conv2D(x.shape[-1], 1, activation="sigmoid", name=self.name("gate"))(y)
        return x * y

    def model(self):
        for _ in range(self.draw(st.integers(3, 12))):
            self.step()
        x = self.made[-1]
        if self.draw(st.booleans()):
            x = layers.Flatten()(x)
            x = layers.Dense(6, activation="relu", name=self.name("dense"))(x)
        else:
            x = layers.GlobalAveragePooling2D()(x)
        x = layers.Dense(self.draw(st.integers(4, 6)), name=self.name("logits"))(x)
        model = keras.Model(self.inputs, x)
        names = {layer.name for layer in model.layers}
        self.kernels = [k for k in self.kernels if k in names]
        return model


@st.composite
def networks(draw):
    drawn = DrawnSplit(draw)
    model = drawn.model()
    starts = draw(st.lists(st.sampled_from(drawn.kernels), min_size=1, max_size=3, unique=True))
    starts.sort(key=drawn.kernels.index)
    groups = sorted(draw(st.lists(st.integers(2, 4), min_size=len(starts), max_size=len(starts))))
    return model, list(zip(starts, groups, strict=True)), draw(st.integers(0, 1000))


def settle(model, seed):
    """Weights that depend on the seed alone."""
    rng = np.random.default_rng(seed)
    for weight in model.weights:
        fan_in = np.prod(weight.shape[:-1]) if len(weight.shape) > 1 else 8
        noise = rng.normal(0, fan_in**-0.5, weight.shape)
        positive = weight.name in ("gamma", "moving_variance")
        weight.assign(np.exp(noise) if positive else noise)


@settings(max_examples=max(12, settings.default.max_examples))
@given(networks())
def test_random_graphs_are_split_exactly_or_refused(network):
    model, sections, seed = network
    calls = sn.graph.read_graph(model).calls
    note("\n".join(f"{c.name}: {c.inputs} -> {c.outputs}" for c in calls))
    settle(model, seed)
    try:
        check_split(model, sections, seed)
        OUTCOMES["exact"] += 1
    except sn.PlanError as error:
        assert str(error).endswith(".") and "'" in str(error)
        OUTCOMES["refused"] += 1


def test_most_random_graphs_are_split():
    """Runs after the test above: refusing everything would be no answer."""
    if not any(OUTCOMES.values()):
        pytest.skip("counts what the test above has drawn, which was not run")
    assert OUTCOMES["exact"] >= OUTCOMES["refused"]
    assert OUTCOMES["refused"] > 0 or sum(OUTCOMES.values()) < 100
