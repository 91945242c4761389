"""Timing; later, placing the nodes of a tree on devices."""

from splitnet_tf.parallel.timing import Timing, interleave, ratio

__all__ = ["Timing", "interleave", "ratio"]
