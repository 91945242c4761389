"""Models of the kinds for which users reported faults of other tools, made small.

Beside each: the report, and its lowest cut or the sentence that refuses it.
"""

import keras
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


def joined(*parts):
    return layers.Concatenate()(list(parts))


def l2_norm(x):
    norm = ops.sqrt(ops.sum(ops.square(x), axis=-1, keepdims=True) + 1e-6)
    return 20.0 * x / norm


def dilated_block(x):
    """Each convolution reads all before it."""
    for rate in (1, 2, 3):
        y = conv(x, 6, 1)
        x = joined(x, conv(y, 4, dilation_rate=rate))
    return x


def pyramid_of_pools(x):
    x = conv(x, 4, 1)
    pools = [x]
    for _ in range(3):
        pools.append(layers.MaxPooling2D(5, 1, padding="same")(pools[-1]))
    return conv(joined(*pools), 8, 1)


def halves_in_turn(x):
    """The first half is kept, the second goes through bottlenecks."""
    first, second = ops.split(conv(x, 8, 1), 2, axis=-1)
    parts = [first, second]
    for name in ("turn", "again"):
        parts.append(parts[-1] + conv(conv(parts[-1], 4, name=name), 4))
    return conv(joined(*parts), 8, 1)


def pixel_shuffle(x):
    y = ops.reshape(layers.Conv2D(8, 1)(x), (-1, 8, 8, 2, 2, 2))
    return ops.reshape(ops.transpose(y, (0, 1, 3, 2, 4, 5)), (-1, 16, 16, 2))


def upsampled_chunks(x):
    y = layers.UpSampling2D()(layers.MaxPooling2D()(x))
    size, rest = ops.split(layers.Conv2D(6, 1)(y), [2], axis=-1)
    return joined(ops.exp(size), rest)


def squeeze_and_excite(x):
    y = layers.BatchNormalization()(layers.Conv2D(12, 1, use_bias=False)(x))
    y = layers.DepthwiseConv2D(3, strides=2, use_bias=False)(ops.silu(y))
    y = ops.silu(layers.BatchNormalization()(y))
    gate = layers.Reshape((1, 1, 12))(layers.GlobalAveragePooling2D()(y))
    gate = layers.Conv2D(12, 1, activation="sigmoid")(layers.Conv2D(3, 1, activation="silu")(gate))
    return layers.Conv2D(6, 1, use_bias=False)(layers.Multiply()([y, gate]))


def inverted_residual(x):
    y = x
    for step in (layers.Conv2D(24, 1), layers.DepthwiseConv2D(3, padding="same")):
        y = layers.ReLU(6.0)(layers.BatchNormalization(momentum=0.999)(step(y)))
    return layers.Add()([x, layers.BatchNormalization()(layers.Conv2D(8, 1)(y))])


def residual_stage(x):
    """Two basic blocks, the first with a strided projection."""
    for filters, strides in ((12, 2), (12, 1)):
        y = layers.Conv2D(filters, 3, strides, padding="same", use_bias=False)(x)
        y = layers.ReLU()(layers.BatchNormalization()(y))
        y = layers.BatchNormalization()(layers.Conv2D(filters, 3, padding="same")(y))
        if strides > 1:
            x = layers.BatchNormalization()(layers.Conv2D(filters, 1, strides)(x))
        x = layers.ReLU()(layers.Add()([x, y]))
    return x


def feature_pyramid():
    """A top-down path of sums; a head shared by all scales."""
    inputs = images()
    low = conv(inputs, name="low")
    middle = conv(layers.MaxPooling2D()(low), 10)
    high = conv(layers.MaxPooling2D()(middle), 12)
    top = layers.Conv2D(6, 1)(high)
    levels = [top]
    for x in (middle, low):
        top = layers.Conv2D(6, 1)(x) + layers.UpSampling2D(interpolation="nearest")(top)
        levels.append(top)
    head = layers.Conv2D(8, 3, padding="same", name="head")
    return finish(inputs, joined(*(layers.GlobalMaxPooling2D()(head(x)) for x in levels)))


def fused_resolutions():
    inputs = images()
    low = conv(inputs, name="low")
    half = conv(low, 12, strides=2)
    up = layers.UpSampling2D()(layers.BatchNormalization()(layers.Conv2D(8, 1)(half)))
    down = layers.BatchNormalization()(layers.Conv2D(12, 3, 2, padding="same")(low))
    low, half = layers.ReLU()(low + up), layers.ReLU()(half + down)
    x = joined(low, layers.UpSampling2D(interpolation="bilinear")(half))
    return finish(inputs, conv(x, 8, 1))


def region_proposals():
    """Scores and boxes from one shared map; the scores come first."""
    inputs = images()
    x = conv(conv(inputs, name="low"))
    scores = layers.Conv2D(CLASSES, 1, name="logits")(x)
    boxes = layers.Reshape((-1, 4))(layers.Conv2D(8, 1)(x))
    return keras.Model(inputs, [layers.Reshape((-1, CLASSES))(scores), boxes])


def several_inputs_at_once():
    """Inputs side by side before the first convolution, residual blocks without norms."""
    inputs = [images(), keras.Input((8, 8, 2), name="state")]
    x = low = conv(joined(*inputs), name="low")
    for _ in range(2):
        x = x + layers.Conv2D(8, 3, padding="same")(conv(x))
    return finish(inputs, x + low)


def head_on_a_pooled_map():
    inputs = images()
    x = layers.Conv2D(8, 3, strides=2, name="low")(inputs)
    x = ops.hard_silu(layers.BatchNormalization()(x))
    x = ops.hard_silu(layers.SeparableConv2D(10, 3)(x))
    x = ops.hard_silu(layers.Conv2D(12, 1)(layers.GlobalAveragePooling2D(keepdims=True)(x)))
    return finish(inputs, layers.Dropout(0.2)(layers.Flatten()(x)))


def density_map():
    inputs = images()
    x = conv(conv(layers.MaxPooling2D()(conv(inputs, name="low")), 6), 4)
    return keras.Model(inputs, layers.Conv2D(1, 1, activation="relu", name="density")(x))


def encoder_and_decoder():
    inputs = images()
    x = conv(conv(inputs, name="low", strides=2), 12, strides=2)
    for filters in (8, 6):
        x = layers.Conv2DTranspose(
            filters, 3, strides=2, padding="same", output_padding=1, activation="relu"
        )(x)
    return keras.Model(inputs, layers.Conv2D(CLASSES, 3, padding="same", name="logits")(x))


def sub_pixel():
    """Super-resolution: no fixed size, a depth-to-space at the end."""
    inputs = keras.Input((8, 8, 3))
    x = conv(conv(inputs, name="low"), 6)
    x = ops.reshape(layers.Conv2D(12, 3, padding="same", name="up")(x), (-1, 8, 8, 2, 2, 3))
    return keras.Model(inputs, ops.reshape(ops.transpose(x, (0, 1, 3, 2, 4, 5)), (-1, 16, 16, 3)))


def sliced_outputs():
    inputs = images()
    x = layers.Conv2D(CLASSES, 1, name="logits")(conv(inputs, name="low"))
    return keras.Model(inputs, [x, ops.argmax(x[..., 0:2], axis=-1), ops.argmax(x[..., 2:6], -1)])


def resized_and_subtracted():
    inputs = images()
    low = conv(inputs, name="low")
    small = layers.Resizing(4, 4, interpolation="nearest")(low)
    up = layers.Conv2DTranspose(8, 2, strides=2)(small)
    return finish(inputs, layers.Subtract()([low, up]))


def greyscale_rows():
    """Images without a channel axis, as MNIST is shipped."""
    inputs = keras.Input((8, 8))
    x = layers.Reshape((8, 8, 1))(inputs)
    x = layers.DepthwiseConv2D(3, activation="relu", depth_multiplier=2)(x)
    x = layers.MaxPooling2D()(layers.Conv2D(8, 3, padding="same", name="low")(x))
    return finish(inputs, layers.Dense(10, activation="relu")(layers.Flatten()(x)))


def waveform():
    inputs = keras.Input((64,))
    x = layers.Conv1D(6, 8, 4, use_bias=False, name="low")(ops.expand_dims(inputs, axis=-1))
    x = layers.Conv1DTranspose(4, 8, 4, use_bias=False, name="up")(x)
    return finish(inputs, x)


def spectrogram():
    inputs = keras.Input((16, 8, 2))
    x = inputs
    for filters, strides in ((4, (2, 2)), (6, (2, 1)), (8, (2, 2))):
        x = layers.Conv2D(filters, 5, strides, padding="same")(x)
        x = layers.LeakyReLU(0.2)(layers.BatchNormalization(axis=-1)(x))
    return finish(inputs, x)


def text_lines():
    """Reads a line of text: columns of a map become steps of a recurrent layer."""
    inputs = keras.Input((8, 8, 1))
    x = layers.MaxPooling2D()(conv(inputs, name="low"))
    x = layers.Reshape((4, 32))(layers.Permute((2, 1, 3))(x))
    x = layers.GRU(8, return_sequences=True)(layers.Dense(10, activation="relu", name="columns")(x))
    return keras.Model(inputs, layers.Dense(CLASSES, name="logits")(x))


def attention_on_patches():
    inputs = keras.Input((8, 8, 1))
    x = layers.Reshape((4, 8))(layers.Conv2D(8, 4, strides=4, name="patches")(inputs))
    x = x + layers.MultiHeadAttention(2, 4)(x, x)
    return finish(inputs, layers.Dense(12, activation="relu", name="mlp")(layers.Flatten()(x)))


def mixer_block(x):
    """Dense layers along the steps and along the channels."""
    y = layers.Permute((2, 1))(layers.Dense(5)(layers.Permute((2, 1))(x)))
    return x + layers.Dense(8, name="mlp")(y)


def gated_recurrence_by_hand():
    """A recurrent cell written out in stock layers, unrolled."""
    inputs = keras.Input((3, 4))
    read, keep = layers.Dense(8, name="read"), layers.Dense(8, use_bias=False, name="keep")
    state = read(inputs[:, 0])
    for step in (1, 2):
        state = ops.tanh(read(inputs[:, step]) + keep(state))
    return finish(inputs, state)


def multispectral():
    model = [keras.Input((16, 16, 13)), layers.Conv2D(8, 3, activation="relu", name="low")]
    model += [layers.MaxPooling2D(2), layers.Conv2D(10, 3, activation="relu"), layers.Flatten()]
    return keras.Sequential([*model, layers.Dense(CLASSES, activation="softmax", name="logits")])


class Upsample(layers.Layer):
    """A layer of the user's own that resizes one map to another."""

    def call(self, inputs):
        x, other = inputs
        return ops.image.resize(x, ops.shape(other)[1:3])


def own_upsampling():
    inputs = images()
    low = conv(inputs, name="low")
    up = Upsample(name="p5_upsampled")([layers.Conv2D(8, 1)(layers.MaxPooling2D()(low)), low])
    return finish(inputs, low + up)


EXACT = {
    # VainF/Torch-Pruning
    "l2_norm_between_convolutions": (between(l2_norm), "high"),  # 24
    "dense_dilated_block": (between(dilated_block), "low"),  # 77
    "pyramid_of_pools": (between(pyramid_of_pools), "low"),  # 100
    "halves_in_turn": (between(halves_in_turn), "turn"),  # 147
    "pixel_shuffle": (between(pixel_shuffle), "high"),  # 98, 420
    "region_proposals": (region_proposals, "low"),  # 207
    "gated_recurrence_by_hand": (gated_recurrence_by_hand, "read"),  # 515
    "transposed_along_steps": (  # 60
        on_steps(lambda: layers.Conv1DTranspose(8, 3, strides=2, name="low"), name="top"),
        "low",
    ),
    "steps_mixed": (on_steps(lambda: layers.Dense(8), lambda: mixer_block), "mlp"),  # 40
    # microsoft/nni
    "upsampled_chunks": (between(upsampled_chunks), "high"),  # 3329
    "encoder_and_decoder": (encoder_and_decoder, "low"),  # 2707, 4798, 5805
    "sub_pixel_without_norms": (  # 4301
        between(lambda x: pixel_shuffle(layers.DepthwiseConv2D(3, padding="same")(x))),
        "high",
    ),
    "resized": (between(lambda x: ops.image.resize(x, (16, 16), "nearest")), "low"),  # 4905
    "prelu": (between(lambda x: layers.PReLU(shared_axes=[1, 2])(x)), "low"),  # 3842
    "group_norm_and_groups": (  # 5069
        between(
            lambda x: layers.Conv2D(16, 3, groups=2)(
                layers.GroupNormalization(4)(layers.Conv2D(16, 3)(x))
            )
        ),
        "low",
    ),
    "squeeze_and_excite": (between(squeeze_and_excite), "low"),  # 4720
    "several_inputs_at_once": (several_inputs_at_once, "low"),  # 3372
    "head_on_a_pooled_map": (head_on_a_pooled_map, "low"),  # 5521
    # tensorflow/model-optimization
    "text_with_lstm": (text_model(lambda: layers.LSTM(8)), "logits"),  # 401
    "feature_pyramid": (feature_pyramid, "low"),  # 5, and keras-team/keras 16889
    "inverted_residual": (between(inverted_residual), "low"),  # 1172
    "resized_and_subtracted": (resized_and_subtracted, "low"),  # 602
    "convolutions_along_steps": (  # 1031
        on_steps(
            lambda: layers.Conv1D(8, 3, padding="causal", activation="relu", name="low"),
            lambda: layers.MaxPooling1D(2),
            name="top",
        ),
        "low",
    ),
    "greyscale_rows": (greyscale_rows, "low"),  # 874, 1132
    "fused_resolutions": (fused_resolutions, "low"),  # 763
    "rescaled_inside": (  # 647
        lambda: finish(x := images(), conv(layers.Rescaling(1 / 255)(x), name="low")),
        "low",
    ),
    "waveform": (waveform, "up"),  # 940
    "sliced_outputs": (sliced_outputs, "low"),  # 1139
    "attention_on_patches": (attention_on_patches, "mlp"),  # 845
    "multispectral": (multispectral, "low"),  # 1141
    # BenWhetton/keras-surgeon, Raukk/tf-keras-surgeon
    "spectrogram": (spectrogram, "conv2d"),  # 64
    "residual_stage": (between(residual_stage), "low"),  # 7
    # keras-team/keras
    "text_lines": (text_lines, "logits"),  # 6828
    "sequential_in_each_step": (  # 19792
        on_steps(
            lambda: layers.TimeDistributed(
                keras.Sequential([keras.Input((4,)), layers.Dense(6), layers.ReLU()])
            )
        ),
        "high",
    ),
}

REFUSED = {
    "density_map": (density_map, "Output 'density' has one unit"),  # nni 2232, 5736
    "sub_pixel": (sub_pixel, "first output of `model`, are made by 'reshape"),  # tfmot 928
    "own_upsampling": (own_upsampling, "Upsample, for which no layer rule"),  # tfmot 5
}
