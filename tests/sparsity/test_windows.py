"""Windows against a convolution of ones and counts of places."""

import keras
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from splitnet_tf.sparsity.windows import Window
from tests.conftest import to_numpy


@st.composite
def windows(draw):
    size, dilation = draw(st.integers(1, 5)), draw(st.integers(1, 2))
    stride = draw(st.integers(1, 3)) if dilation == 1 else 1
    padding = draw(st.sampled_from(["valid", "same", "causal"]))
    return Window(size, stride, dilation, padding, draw(st.integers(10, 14)))


@given(windows())
def test_where_padding_is_seen(window):
    """A kernel with one weight: what it makes of ones is 0 where it lies on padding."""
    layer = keras.layers.Conv1D(
        1,
        window.size,
        strides=window.stride,
        dilation_rate=window.dilation,
        padding=window.padding,
        use_bias=False,
    )
    ones = np.ones((1, window.length, 1), "float32")
    layer(ones)
    found = []
    for position in range(window.size):
        layer.kernel.assign(np.eye(window.size)[position].reshape(-1, 1, 1))
        found.append(to_numpy(layer(ones)).min() == 0)
    np.testing.assert_array_equal(window.sees_padding(), found)


@pytest.mark.parametrize("size", [1, 2, 3, 5])
@pytest.mark.parametrize("padding", ["valid", "same"])
def test_inputs_of_unknown_length(size, padding):
    """With a stride of 1 nothing depends on the length; with more, every position may see it."""
    unknown = Window(size, 1, 1, padding, None)
    known = Window(size, 1, 1, padding, 12)
    assert unknown.pads() == known.pads()
    np.testing.assert_array_equal(unknown.sees_padding(), known.sees_padding())
    strided = Window(size, 2, 1, padding, None)
    if padding == "valid":
        assert strided.pads() == (0, 0) and not strided.sees_padding().any()
    else:
        assert strided.pads() is None and strided.sees_padding().all()
        assert strided.cropped(0, size) is None
