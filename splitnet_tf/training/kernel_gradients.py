"""Gradients of some convolution kernels on a processor, as matrix products.

TensorFlow's own operation is slow on small images in bfloat16: for 512 channels at 8x8 positions it
runs at 45% of the speed of the forward pass. One matrix product for each position in the window,
of the input shifted by it with the gradient of the output, runs at 70%. The sums are the same and
are rounded once, as the operation's. With fewer channels or more positions, such as 256 channels at
16x16, the shifted inputs cost more to read than the products save.

With strides, 1x1 windows and few input channels the operation (of TensorFlow 2.21, through oneDNN)
writes beyond its memory where the batch is odd, and the process dies. Products take its place there
in float32 too.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import keras
import tensorflow as tf

from splitnet_tf.graph.keras_reader import all_layers

MOST_POSITIONS = 256  # of the output, above which TensorFlow's operation is as fast
LEAST_CHANNELS = 128
LEAST_SHARE = 256  # of input times output channels in the positions; not with strides
LARGEST_WINDOW = 3
FEW_CHANNELS = 16  # below which the operation is not safe


def fits(layer: keras.layers.Conv2D, inputs: tf.Tensor) -> bool:
    """True where the products are safer or faster and compute what the layer's gradient is."""
    shape = layer.compute_output_shape(inputs.shape)
    known = (
        layer.data_format == "channels_last"
        and layer.padding in ("same", "valid")
        and layer.groups == 1
        and layer.dilation_rate == (1, 1)
        and None not in (*inputs.shape[1:], *shape[1:])
    )
    if not known:
        return False
    strided_point = layer.kernel_size == (1, 1) and max(layer.strides) > 1
    if strided_point and inputs.shape[3] < FEW_CHANNELS:
        return True
    channels, positions = (inputs.shape[3], shape[3]), shape[1] * shape[2]
    return (
        inputs.dtype == tf.bfloat16
        and max(layer.kernel_size) <= LARGEST_WINDOW
        and positions <= MOST_POSITIONS
        and min(channels) >= LEAST_CHANNELS
        and (max(layer.strides) > 1 or channels[0] * channels[1] > LEAST_SHARE * positions)
    )


def convolve(layer: keras.layers.Conv2D, inputs: tf.Tensor, kernel: tf.Tensor) -> tf.Tensor:
    """The layer's convolution, whose gradient with respect to the kernel is made of products."""
    strides, padding = (1, *layer.strides, 1), layer.padding.upper()

    @tf.custom_gradient
    def convolution(x, w):
        def gradient(above):
            of_inputs = tf.raw_ops.Conv2DBackpropInput(
                input_sizes=tf.shape(x),
                filter=w,
                out_backprop=above,
                strides=strides,
                padding=padding,
            )
            return of_inputs, kernel_gradient(x, above, w.shape[:2], layer.strides, padding)

        return tf.nn.conv2d(x, w, strides, padding), gradient

    return convolution(inputs, kernel)


def kernel_gradient(x, above, window, strides, padding: str) -> tf.Tensor:
    """Gradient of a kernel (height, width, in, out).

    Args:
      x: input (B, H, W, in); its batch may be unknown.
      above: gradient of the output (B, H', W', out).
      window, strides: (height, width).
      padding: ``"SAME"`` or ``"VALID"``.
    """
    made = above.shape[1:3]
    margins, sizes = [[0, 0]], []
    for size, out, width, step in zip(x.shape[1:3], made, window, strides, strict=True):
        missing = max((out - 1) * step + width - size, 0) if padding == "SAME" else 0
        begin = missing // 2
        # With strides the input is read as ``step`` interleaved images, each a slice of a reshape.
        length = step * (out + (width - 1) // step)
        margins.append([begin, max(length - size - begin, 0)])
        sizes.append(length)
    padded = tf.pad(x, [*margins, [0, 0]])[:, : sizes[0], : sizes[1]]
    (tall, wide), channels = strides, x.shape[3]
    phases = tf.reshape(padded, (-1, sizes[0] // tall, tall, sizes[1] // wide, wide, channels))
    flat = tf.reshape(above, (-1, above.shape[3]))
    products = []
    for i in range(window[0]):
        for j in range(window[1]):
            phase = phases[:, :, i % tall, :, j % wide]
            top, left = i // tall, j // wide
            read = phase[:, top : top + made[0], left : left + made[1]]
            rows = tf.reshape(read, (-1, channels))
            products.append(tf.matmul(rows, flat, transpose_a=True))
    return tf.reshape(tf.stack(products), (*window, channels, above.shape[3]))


@contextlib.contextmanager
def product_gradients(model: keras.Model) -> Iterator[None]:
    """While inside, convolutions of ``model`` have such gradients where ``fits`` says so."""

    def convolution_of(layer):
        def convolution_op(inputs, kernel):
            if fits(layer, inputs):
                return convolve(layer, inputs, tf.convert_to_tensor(kernel))
            return type(layer).convolution_op(layer, inputs, kernel)

        return convolution_op

    there = () if tf.config.list_logical_devices("GPU") else all_layers(model)
    layers = [layer for layer in there if isinstance(layer, keras.layers.Conv2D)]
    try:
        for layer in layers:
            # Straight into the instance: Keras' own __setattr__ would track the function.
            layer.__dict__["convolution_op"] = convolution_of(layer)
        yield
    finally:
        for layer in layers:
            layer.__dict__.pop("convolution_op", None)
