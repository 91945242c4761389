"""Hand-drawn networks with the channel spaces written by hand."""

import keras
import pytest
from keras import layers

from splitnet_tf.errors import PlanError
from splitnet_tf.graph import LayerRule, UnknownLayerError, register_rule, trace
from tests.conftest import small_alexnet


def spaces_of(model):
    """Call name to the names of the spaces of its output."""
    traced = trace(model)
    return {
        call.name: tuple(traced.spaces[s].name for s in traced.layouts[call.outputs[0]].spaces)
        for call in traced.graph.calls
    }


def test_chain():
    """in -> a -> bn -> relu -> b"""
    x = inputs = keras.Input((8, 8, 3))
    x = layers.Conv2D(4, 3, name="a")(x)
    x = layers.BatchNormalization(name="bn")(x)
    x = layers.ReLU(name="relu")(x)
    x = layers.Conv2D(6, 3, name="b")(x)
    found = spaces_of(keras.Model(inputs, x))
    assert found == {"a": ("a",), "bn": ("a",), "relu": ("a",), "b": ("b",)}


def test_residual():
    """in -> a -> b -> add -> pool -> logits, with a past b into add"""
    inputs = keras.Input((8, 8, 3))
    a = layers.Conv2D(4, 3, padding="same", name="a")(inputs)
    b = layers.Conv2D(4, 3, padding="same", name="b")(a)
    x = layers.Add(name="add")([a, b])
    x = layers.GlobalAveragePooling2D(name="pool")(x)
    found = spaces_of(keras.Model(inputs, layers.Dense(5, name="logits")(x)))
    assert found["a"] == found["b"] == found["add"] == found["pool"] == ("a",)
    assert found["logits"] == ("logits",)


def test_concatenation_and_flattening():
    """in -> a, in -> b, concat(a, b) -> flatten of 2x2 positions -> c"""
    inputs = keras.Input((2, 2, 3))
    a = layers.Conv2D(4, 1, name="a")(inputs)
    b = layers.Conv2D(5, 1, name="b")(inputs)
    x = layers.Concatenate(name="concat")([a, b])
    x = layers.Flatten(name="flatten")(x)
    found = spaces_of(keras.Model(inputs, layers.Dense(7, name="c")(x)))
    assert found["concat"] == ("a", "b")
    assert found["flatten"] == ("a", "b") * 4


def test_a_shared_layer_has_one_order_for_both_its_uses():
    """in -> a -> s, in -> b -> s: the inputs a, b and both outputs of s go together."""
    inputs = keras.Input((6,))
    a = layers.Dense(4, name="a")(inputs)
    b = layers.Dense(4, name="b")(inputs)
    shared = layers.Dense(5, name="s")
    out = layers.Concatenate(name="concat")([shared(a), shared(b)])
    found = spaces_of(keras.Model(inputs, out))
    assert found["a"] == found["b"] != found["s"]
    assert found["s"] == found["s#1"] == ("s",)
    assert found["concat"] == ("s", "s")


def test_nested_models_are_read_through():
    inner_in = keras.Input((8, 8, 4))
    inner = keras.Model(inner_in, layers.Conv2D(5, 3, name="conv")(inner_in), name="inner")
    inputs = keras.Input((8, 8, 3))
    x = layers.Conv2D(4, 1, name="a")(inputs)
    found = spaces_of(keras.Model(inputs, layers.ReLU(name="relu")(inner(x))))
    assert found == {"a": ("a",), "inner_conv": ("inner_conv",), "relu": ("inner_conv",)}


def test_squeeze_and_excite_joins_gate_and_features():
    inputs = keras.Input((8, 8, 3))
    x = layers.Conv2D(6, 3, name="a")(inputs)
    gate = layers.GlobalAveragePooling2D(keepdims=True, name="squeeze")(x)
    gate = layers.Conv2D(2, 1, name="down")(gate)
    gate = layers.Conv2D(6, 1, activation="sigmoid", name="up")(gate)
    found = spaces_of(keras.Model(inputs, layers.Multiply(name="scale")([x, gate])))
    assert found["up"] == found["scale"] == ("a",)
    assert found["down"] == ("down",)


def test_operators_are_traced():
    inputs = keras.Input((6,))
    a = layers.Dense(4, name="a")(inputs)
    b = layers.Dense(4, name="b")(inputs)
    found = spaces_of(keras.Model(inputs, 2.0 * a + b))
    assert set(found.values()) == {("a",)}


def test_alexnet_like():
    found = spaces_of(small_alexnet())
    assert found["flatten"] == ("conv2",) * 25
    assert found["fc6"] == ("fc6",)


class Unheard(layers.Layer):
    def call(self, inputs):
        return inputs


def test_an_unknown_layer_is_named_with_the_remedy():
    inputs = keras.Input((6,))
    x = Unheard(name="strange")(layers.Dense(4)(inputs))
    with pytest.raises(UnknownLayerError, match="'strange' is of type .*Unheard.*register"):
        trace(keras.Model(inputs, layers.Dense(2)(x)))


class Doubled(layers.Layer):
    def call(self, inputs):
        return 2.0 * inputs


def test_a_rule_of_three_lines():
    @register_rule(Doubled)
    class DoubledRule(LayerRule):
        def trace(self, ctx):
            return [ctx.inputs[0]]

    inputs = keras.Input((6,))
    x = Doubled(name="doubled")(layers.Dense(4, name="a")(inputs))
    found = spaces_of(keras.Model(inputs, layers.Dense(2, name="b")(x)))
    assert found["doubled"] == ("a",)


def test_a_subclassed_model_is_refused():
    class Own(keras.Model):
        def call(self, inputs):
            return inputs

    with pytest.raises(ValueError, match="has no functional graph"):
        trace(Own())


class DoubledModel(keras.Model):
    """Functional, but more than its graph."""

    def call(self, inputs, training=None, mask=None):
        return 2.0 * super().call(inputs, training=training, mask=mask)


class DoubledSequential(keras.Sequential):
    def call(self, inputs, training=None, mask=None):
        return 2.0 * super().call(inputs, training=training, mask=mask)


class NamedModel(keras.Model):
    """Functional, with nothing changed in what it computes."""


def test_a_call_of_its_own_hides_a_models_graph():
    def two_layers(kind):
        inputs = keras.Input((6,))
        return kind(inputs, layers.Dense(4, name="a")(inputs), name="inner")

    sequential = DoubledSequential([keras.Input((6,)), layers.Dense(4)], name="inner")
    for model in (two_layers(DoubledModel), sequential):
        with pytest.raises(PlanError, match="Model 'inner' .Doubled.* call method of its own"):
            trace(model)
        outer = keras.Input((6,))
        with pytest.raises(UnknownLayerError, match="'inner' is of type .*Doubled"):
            trace(keras.Model(outer, layers.Dense(3)(model(outer))))
    assert spaces_of(two_layers(NamedModel)) == {"a": ("a",)}
