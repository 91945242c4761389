"""Random functional graphs with random zeros: shrunk, they compute the same.

``make test-long`` draws 200 of each.
"""

import keras
import numpy as np
import pytest
from hypothesis import given, note, settings
from hypothesis import strategies as st
from keras import layers, ops

import splitnet_tf as sn
from splitnet_tf.sparsity import apply_selection
from splitnet_tf.sparsity.choosing import random_selection
from tests.conftest import to_numpy
from tests.drawn import Drawn
from tests.sparsity.zeros import check_shrink, settle

# Three times as many as elsewhere, which is little on JAX, but no more than the long profile draws.
EXAMPLES = min(3 * settings.default.max_examples, max(settings.default.max_examples, 36))
FREED = {"channels": 0, "layers": 0, "windows": 0, "models": 0}


class DrawnShrunk(Drawn):
    """Operations of the networks that are shrunk."""

    def make_conv(self, x):
        size = self.draw(st.sampled_from([1, 2, 3]))
        padding = "same" if x.shape[1] < 3 else self.draw(st.sampled_from(["same", "valid"]))
        return layers.Conv2D(
            self.draw(st.integers(3, 6)),
            size,
            strides=self.draw(st.sampled_from([1, 1, 2])),
            padding=padding,
            use_bias=self.draw(st.booleans()),
            activation=self.draw(st.sampled_from([None, "relu", "sigmoid", "softmax"])),
        )(x)

    def make_block(self, x):
        """A residual block, with or without a projection."""
        filters = self.draw(st.sampled_from([x.shape[-1], 4]))
        y = layers.Conv2D(self.draw(st.integers(2, 4)), 3, padding="same")(x)
        y = layers.BatchNormalization()(y) if self.draw(st.booleans()) else y
        y = layers.Conv2D(filters, 3, padding="same")(layers.ReLU()(y))
        y = layers.BatchNormalization()(y) if self.draw(st.booleans()) else y
        x = x if filters == x.shape[-1] else layers.Conv2D(filters, 1)(x)
        x = layers.Add()([x, y]) if self.draw(st.booleans()) else x + y
        return layers.ReLU()(x) if self.draw(st.booleans()) else x

    def make_shared(self, x):
        key = x.shape[-1]
        if key not in self.shared:
            self.shared[key] = layers.Conv2D(
                key, self.draw(st.sampled_from([1, 3])), padding="same"
            )
        return self.shared[key](x)

    def make_grouped(self, x):
        channels = x.shape[-1]
        groups = self.draw(
            st.sampled_from([g for g in (2, 3, channels) if channels % g == 0] or [1])
        )
        return layers.Conv2D(channels, 3, padding="same", groups=groups)(x)

    def make_separable(self, x):
        multiplier = self.draw(st.sampled_from([1, 1, 2]))
        return layers.SeparableConv2D(4, 3, padding="same", depth_multiplier=multiplier)(x)

    def make_transposed(self, x):
        return layers.Conv2DTranspose(4, 3, padding="same")(x)

    def make_depthwise(self, x):
        padding = "same" if x.shape[1] < 3 else self.draw(st.sampled_from(["same", "valid"]))
        multiplier = self.draw(st.sampled_from([1, 1, 1, 2])) if x.shape[-1] < 9 else 1
        return layers.DepthwiseConv2D(3, padding=padding, depth_multiplier=multiplier)(x)

    def make_norm(self, x):
        kinds = [
            lambda: layers.BatchNormalization(),
            lambda: layers.BatchNormalization(scale=False),
            lambda: layers.LayerNormalization(),
            lambda: layers.GroupNormalization(-1),
        ]
        return self.draw(st.sampled_from(kinds))()(x)

    def make_activation(self, x):
        kinds = [
            lambda: layers.ReLU(),
            lambda: layers.LeakyReLU(),
            lambda: layers.PReLU(),
            lambda: layers.PReLU(shared_axes=[1, 2]),
            lambda: layers.Dropout(0.3),
            lambda: ops.silu,
            lambda: lambda x: 2.0 * x - 0.5,
        ]
        return self.draw(st.sampled_from(kinds))()(x)

    def make_place(self, x):
        kinds = [layers.MaxPooling2D(2), layers.AveragePooling2D(2, padding="same")]
        kinds += [layers.MaxPooling2D(3, 1, padding="same"), layers.Cropping2D(1)]
        small = [layers.ZeroPadding2D(1), layers.UpSampling2D(2)]
        return self.draw(st.sampled_from(kinds if x.shape[1] > 3 else small))(x)

    def make_join(self, x):
        kind = self.draw(st.sampled_from([layers.Add, layers.Multiply, layers.Maximum]))
        return kind()([x, self.same(x, x.shape[-1])])

    def make_concatenation(self, x):
        other = self.same(x)
        return x if x.shape[-1] + other.shape[-1] > 12 else layers.Concatenate()([x, other])

    def make_pad(self, x):
        """Channels of zeros, as in a shortcut without weights."""
        return ops.pad(x, ((0, 0), (0, 0), (0, 0), (1, 2))) if x.shape[-1] < 9 else x

    def make_gate(self, x):
        y = ops.mean(x, axis=(1, 2), keepdims=True)
        return x * layers.Conv2D(x.shape[-1], 1, activation="sigmoid")(y)

    def make_place_gate(self, x):
        """One channel that every other is multiplied by."""
        return layers.Multiply()([x, layers.Conv2D(1, 1, activation="sigmoid")(x)])

    def model(self):
        for _ in range(self.draw(st.integers(3, 10))):
            self.step()
        x = self.made[-1]
        if self.draw(st.booleans()):
            x = layers.Flatten()(x)
            x = layers.Dense(6, activation=self.draw(st.sampled_from(["relu", "sigmoid"])))(x)
        else:
            x = layers.GlobalAveragePooling2D()(x)
        return keras.Model(self.inputs, layers.Dense(3)(x))


@st.composite
def networks(draw):
    return DrawnShrunk(draw).model(), draw(st.integers(0, 10**6))


def put_zeros(model, seed):
    """Zeros in filters, channels, window positions, whole kernels, biases and norms, mixed."""
    rng = np.random.default_rng(seed)
    share = rng.uniform(0.1, 0.9)
    for weight in model.trainable_weights:
        value = to_numpy(weight.value).copy()
        for axis in range(value.ndim):
            if rng.random() < 0.5:
                where = [slice(None)] * value.ndim
                where[axis] = rng.random(value.shape[axis]) < share
                value[tuple(where)] = 0
        if rng.random() < 0.25:
            value[:] = 0
        weight.assign(value)


@settings(max_examples=EXAMPLES)
@given(networks())
def test_any_pattern_of_zeros(network):
    model, seed = network
    settle(model, seed)
    put_zeros(model, seed)
    calls = sn.graph.read_graph(model).calls
    note("\n".join(f"{c.name}: {c.inputs} -> {c.outputs}" for c in calls))
    shrunk = check_shrink(model, gather=bool(seed % 2), seed=seed)
    note(str(shrunk.changes))
    FREED["models"] += 1
    FREED["layers"] += len(shrunk.selection.layers)
    FREED["channels"] += sum(s.size - len(s.indices) for s in shrunk.selection.spaces)
    FREED["windows"] += sum(
        c.after is not None and len(c.before) == 4 and c.after[:2] < c.before[:2]
        for c in shrunk.changes.kernels
    )


def test_much_was_freed():
    """Runs after the test above: leaving everything as it is would be no answer."""
    if FREED["models"] < 30:
        pytest.skip("counts what the test above has freed, which drew too few models or none")
    assert FREED["channels"] > FREED["models"]
    assert FREED["layers"] > 0
    assert FREED["windows"] > 0


@settings(max_examples=EXAMPLES)
@given(networks())
def test_any_selection(network):
    """Masked by a random selection and shrunk by it: at most what it keeps is left."""
    model, seed = network
    settle(model, seed)
    selection = random_selection(model, keep=0.5, seed=seed)
    apply_selection(model, selection)
    shrunk = check_shrink(model, selection, seed=seed)
    for space in shrunk.selection.spaces:
        wanted = selection.space(space.name)
        forced = set(space.indices) - set(wanted.indices)
        assert not forced or any(f"'{space.name}'" in s for s in shrunk.changes.left)
