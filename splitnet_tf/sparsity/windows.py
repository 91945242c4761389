"""Windows of convolutions along their axes: padding, borders, boxes."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from splitnet_tf.graph.calls import Call
from splitnet_tf.graph.trace import Trace


@dataclasses.dataclass(frozen=True)
class Window:
    """One axis of a convolution on an input of known or unknown length.

    Attributes:
      size, stride, dilation: int, of the kernel.
      padding: ``"valid"``, ``"same"`` or ``"causal"``.
      length: int, places of the input along the axis, or None.
    """

    size: int
    stride: int
    dilation: int
    padding: str
    length: int | None

    @property
    def reach(self) -> int:
        """Places from the first to the last that the window sees at once."""
        return (self.size - 1) * self.dilation + 1

    def pads(self) -> tuple[int, int] | None:
        """Zeros before and after the input; None where they depend on an unknown length."""
        if self.padding == "valid":
            return 0, 0
        if self.padding == "causal":
            return self.reach - 1, 0
        if self.stride == 1:
            total = self.reach - 1
        elif self.length is None:
            return None
        else:
            steps = -(-self.length // self.stride) - 1
            total = max(steps * self.stride + self.reach - self.length, 0)
        return total // 2, total - total // 2

    def sees_padding(self) -> np.ndarray:
        """Tells for each position of the window if it ever lies on a padded zero, bool (size,)."""
        pads = self.pads()
        if pads is None:
            return np.ones(self.size, bool)
        before, after = pads
        places = np.arange(self.size) * self.dilation
        if self.stride == 1 or self.length is None:
            return (places < before) | (places > self.reach - 1 - after)
        last = (self.length + before + after - self.reach) // self.stride * self.stride
        return (places < before) | (last + places - before > self.length - 1)

    def places_of(self, position: int) -> slice:
        """Places of the padded input, of known length, that one position of the window sees."""
        before, after = self.pads()
        steps = (self.length + before + after - self.reach) // self.stride
        start = position * self.dilation
        return slice(start, start + steps * self.stride + 1, self.stride)

    def cropped(self, low: int, high: int) -> tuple[Window, tuple[int, int]] | None:
        """Crops the window to positions ``low`` to ``high`` - 1 and fits its input to it.

        Returns:
          The window, padded ``"valid"`` or ``"same"``; zeros to add to the input before and after
          it, places to take away where negative. None where they depend on an unknown length.
        """
        pads = self.pads()
        if pads is None:
            return None
        before = pads[0] - low * self.dilation
        after = pads[1] - (self.size - high) * self.dilation
        window = dataclasses.replace(self, size=high - low, padding="valid")
        return window, (before, after)


def windows_of(traced: Trace, call: Call) -> tuple[Window, ...]:
    """The axes of a convolution's window, in the kernel's order; none for other layers."""
    op: Any = call.op
    if not hasattr(op, "kernel_size"):
        return ()
    tensor = call.inputs[0]
    shape, axis = traced.graph.shapes[tensor], traced.layouts[tensor].axis
    lengths = [n for i, n in enumerate(shape) if i not in (0, axis)]
    settings = zip(op.kernel_size, op.strides, op.dilation_rate, lengths, strict=True)
    return tuple(Window(k, s, d, op.padding, n) for k, s, d, n in settings)


def sees_padding(windows: tuple[Window, ...]) -> np.ndarray:
    """Tells for each position of a window of several axes if it ever lies on a padded zero."""
    found = np.zeros(tuple(w.size for w in windows), bool)
    for axis, window in enumerate(windows):
        shape = [1] * len(windows)
        shape[axis] = window.size
        found |= window.sees_padding().reshape(shape)
    return found
