"""Small models of the kinds that people bring to pruning tools.

Beside each: its lowest cut, or the sentence that refuses it.
"""

import keras
import numpy as np
from keras import layers, ops

from tests.splitting.small_models import (
    CLASSES,
    between,
    conv,
    finish,
    images,
    on_steps,
    text_model,
)


def mobilenetv3_block(x):
    y = conv(x, 12, 1)
    y = ops.hard_silu(layers.BatchNormalization()(layers.DepthwiseConv2D(3, padding="same")(y)))
    gate = layers.Conv2D(6, 1, activation="relu")(ops.mean(y, axis=(1, 2), keepdims=True))
    y = y * layers.Conv2D(12, 1, activation="hard_sigmoid")(gate)
    return x + layers.Conv2D(8, 1)(y)


def channel_shuffle(x):
    y = layers.Reshape((8, 8, 2, 4))(x)
    return layers.Reshape((8, 8, 8))(layers.Permute((1, 2, 4, 3))(y))


def attention_block(x):
    y = layers.LayerNormalization()(x)
    x = x + layers.MultiHeadAttention(2, 4)(y, y)
    return x + layers.Dense(8)(
        layers.Dense(12, activation="gelu", name="mlp")(layers.LayerNormalization()(x))
    )


def shared_head():
    inputs = images()
    low = conv(inputs, name="low")
    shared = layers.Conv2D(8, 3, padding="same", name="shared")
    x = [layers.GlobalAveragePooling2D()(shared(y)) for y in (low, layers.MaxPooling2D()(low))]
    return finish(inputs, layers.Concatenate()(x))


def layer_in_a_chain():
    x = inputs = keras.Input((8,))
    layer = layers.Dense(8, activation="tanh", name="low")
    for _ in range(3):
        x = layer(x)
    return finish(inputs, x)


def sequential_in_sequential():
    inner = keras.Sequential([keras.Input((8, 8, 8)), layers.Conv2D(8, 3), layers.ReLU()])
    outer = keras.Sequential([keras.Input((8, 8, 8)), inner, layers.BatchNormalization()])
    inputs = images()
    return finish(inputs, outer(conv(inputs, name="low")))


def backbone_as_a_layer():
    inputs = images()
    backbone = keras.Model(inputs, conv(conv(inputs, name="low"), name="up"), name="backbone")
    inputs = images()
    x = layers.Rescaling(1 / 127.5, -1)(layers.RandomFlip("horizontal")(inputs))
    return finish(inputs, layers.Dropout(0.2)(backbone(x, training=False)))


def unet():
    inputs = images()
    low = conv(inputs, name="low")
    x = layers.UpSampling2D()(conv(layers.MaxPooling2D()(low), 12))
    x = conv(layers.Concatenate()([low, x]))
    return keras.Model(inputs, layers.Conv2D(CLASSES, 1, name="logits")(x))


def logits_and_a_regression():
    inputs = images()
    x = layers.GlobalAveragePooling2D()(conv(inputs, name="low"))
    return keras.Model(
        inputs, [layers.Dense(n, name=k)(x) for n, k in ((CLASSES, "logits"), (2, "box"))]
    )


def image_and_table():
    inputs = [images(), keras.Input((5,), name="table")]
    x = layers.GlobalAveragePooling2D()(conv(inputs[0], name="low"))
    return finish(inputs, layers.Concatenate()([x, layers.Dense(4, name="side")(inputs[1])]))


def dicts():
    inputs = keras.Input((8, 8, 3), name="image")
    x = layers.GlobalAveragePooling2D()(conv(inputs, name="low"))
    heads = {"kind": layers.Dense(CLASSES, name="logits")(x), "box": layers.Dense(2)(x)}
    return keras.Model({"image": inputs}, heads)


class Subclass(keras.Model):
    """A functional subclass: its constructor makes the graph."""

    def __init__(self, **kwargs):
        inputs = images()
        x = layers.GlobalAveragePooling2D()(conv(inputs, name="low"))
        super().__init__(inputs, layers.Dense(CLASSES, name="logits")(x), **kwargs)


class Own(keras.Model):
    def __init__(self):
        super().__init__()
        self.dense = layers.Dense(CLASSES)

    def call(self, x):
        return self.dense(x)


class Swish(layers.Layer):
    def call(self, x):
        return x * ops.sigmoid(x)


def two_models_of_the_same_names():
    inputs = images()
    parts = []
    for name in "ab":
        own = images()
        made = keras.Model(own, conv(own, name="conv"), name=name)
        parts.append(layers.GlobalAveragePooling2D()(made(inputs)))
    return finish(inputs, layers.Concatenate()(parts))


def mixed():
    inputs = images()
    x = layers.BatchNormalization(dtype="mixed_float16")(
        conv(inputs, name="low", dtype="mixed_float16")
    )
    return finish(inputs, x, dtype="float32")


def locked(change):
    def make():
        inputs = keras.Input((8,))
        model = finish(inputs, layers.Dense(8, activation="relu", name="low")(inputs))
        change(model)
        return model

    return make


def switch_lora_on(model):
    for layer in model.layers[1:]:
        layer.enable_lora(2)


def volume():
    inputs = keras.Input((4, 4, 4, 2))
    x = layers.Conv3D(6, 3, name="low")(inputs)
    return finish(inputs, layers.GlobalAveragePooling3D()(layers.Conv3D(8, 1)(x)))


def attention_pooling():
    inputs = keras.Input((5, 4))
    x = layers.Dense(8, activation="tanh", name="low")(inputs)
    weights = layers.Softmax(axis=1)(layers.Dense(1)(inputs))
    return finish(inputs, ops.sum(layers.Dense(8, name="high")(x) * weights, axis=1))


def scaled_logits():
    inputs = images()
    model = finish(inputs, conv(inputs, name="low"))
    prior = np.linspace(-1, 1, CLASSES, dtype="float32")
    return keras.Model(inputs, model.outputs[0] / 2.0 + prior)


def plain(size=8, classes=CLASSES, **settings):
    def make():
        inputs = images(size)
        return finish(inputs, conv(conv(inputs, name="low")), classes, **settings)

    return make


def lambda_layer():
    inputs = keras.Input((8,))
    return finish(inputs, layers.Lambda(lambda x: 2 * x)(inputs))


def flatten_map():
    inputs = keras.Input((4, 4, 3))
    x = layers.Flatten()(layers.Dense(6, activation="relu", name="low")(inputs))
    return finish(inputs, layers.Dense(8, name="high")(x))


EXACT = {
    "concat_of_itself": (between(lambda x: layers.Concatenate()([x, x])), "low"),
    "grouped_conv": (between(lambda x: layers.Conv2D(8, 3, groups=4)(x)), "low"),
    "mobilenetv3_block": (between(mobilenetv3_block), "low"),
    "shared_head_on_two_scales": (shared_head, "low"),
    "layer_reused_in_a_chain": (layer_in_a_chain, "low"),
    "sequential_in_sequential": (sequential_in_sequential, "low"),
    "backbone_as_a_layer": (backbone_as_a_layer, "backbone"),
    "python_operators": (between(lambda x: (2 * x - 1) ** 2 + x / 3), "low"),
    "slicing_glu": (between(lambda x: x[..., :4] * ops.sigmoid(x[..., 4:])), "high"),
    "channel_shuffle": (between(channel_shuffle), "high"),
    "conv_transpose": (between(lambda x: layers.Conv2DTranspose(6, 3, strides=2)(x)), "low"),
    "reshape_and_conv_transpose": (
        lambda: finish(
            x := keras.Input((16,)),
            conv(
                layers.Conv2DTranspose(6, 3, name="up")(
                    layers.Reshape((2, 2, 8))(layers.Dense(32, name="low")(x))
                ),
                name="high",
            ),
        ),
        "up",
    ),
    "unet_segmentation": (unet, "low"),
    "one_by_one_input": (plain(1), "low"),
    "any_image_size": (plain(None), "low"),
    "logits_and_a_regression": (logits_and_a_regression, "low"),
    "image_and_table": (image_and_table, "low"),
    "dict_inputs_and_outputs": (dicts, "low"),
    "lstm": (on_steps(lambda: layers.LSTM(8)), "high"),
    "gru_and_bidirectional": (
        on_steps(
            lambda: layers.Bidirectional(layers.GRU(4, return_sequences=True)),
            lambda: layers.GRU(8),
        ),
        "high",
    ),
    "time_distributed": (on_steps(lambda: layers.TimeDistributed(layers.Dense(8))), "high"),
    "embedding_conv1d": (text_model(lambda: layers.Conv1D(8, 3, name="high")), "high"),
    "embedding_and_pooling": (text_model(layers.GlobalAveragePooling1D), "logits"),
    "vit_block": (on_steps(lambda: layers.Dense(8), lambda: attention_block), "mlp"),
    "group_norm": (between(lambda x: layers.GroupNormalization(4)(x)), "low"),
    "separable": (between(lambda x: layers.SeparableConv2D(8, 3)(x)), "low"),
    "functional_subclass": (Subclass, "low"),
    "softmax_activation": (plain(activation="softmax"), "low"),
    "sigmoid_multilabel": (plain(activation="sigmoid"), "low"),
    "same_names_twice": (two_models_of_the_same_names, "a_conv"),
    "mixed_float16": (mixed, "low"),
    "einsum_dense": (
        on_steps(lambda: layers.EinsumDense("abc,cd->abd", (5, 8), bias_axes="d")),
        "high",
    ),
    "unit_normalized": (between(lambda x: layers.UnitNormalization()(x)), "high"),
    "normalized_input": (
        lambda: finish(
            x := images(),
            conv(layers.Normalization(mean=[0.1, 0.2, 0.3], variance=[1, 2, 3])(x), name="low"),
        ),
        "low",
    ),
    "dot_of_two": (
        lambda: finish(
            x := keras.Input((5, 4)),
            layers.Dense(8, name="high")(
                layers.Dot(axes=1)([layers.Dense(6)(x), layers.Dense(6)(x)])
            ),
        ),
        "high",
    ),
    "conv3d": (volume, "low"),
    "attention_pooling": (attention_pooling, "low"),
    "scaled_logits": (scaled_logits, "low"),
    "flatten_map": (flatten_map, "low"),
}

REFUSED = {
    "lambda_layer": (lambda_layer, "'lambda.*' is a Lambda layer"),
    "own_layer": (
        lambda: finish(x := keras.Input((8,)), Swish()(layers.Dense(8)(x))),
        "Swish, for which no layer rule is known",
    ),
    "subclassed": (Own, "has no functional graph"),
    "binary_one_unit": (plain(classes=1), "Output 'logits' has one unit"),
    "quantized_int8": (locked(lambda model: model.quantize("int8")), "is quantized; split"),
    "lora": (locked(switch_lora_on), "has LoRA switched on; split the model first"),
}
