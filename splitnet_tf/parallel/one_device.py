"""A tree on one device, in the form that is fastest there."""

from __future__ import annotations

import logging
from collections.abc import Callable

import numpy as np
import tensorflow as tf

from splitnet_tf.errors import PlanError
from splitnet_tf.parallel.timing import Timing, interleave
from splitnet_tf.splitting import SplitTree, fuse_tree
from splitnet_tf.training.evaluation import inference_layers

FORMS = ("none", "grouped", "jit", "grouped_jit")


def one_device_forward(
    tree: SplitTree, form: str, images, repeats: int = 3, *, bfloat16: bool = False
) -> tuple[str, Callable, dict[str, Timing]]:
    """Compiles a tree as a function for one device.

    Args:
      tree: to compile; ``grouped`` needs branches of equal shapes.
      form: ``none``, each branch by itself; ``grouped``, the branches of a level as one;
        ``jit`` and ``grouped_jit``, compiled by XLA; ``auto``, the fastest here.
      images: float32 (B, H, W, C); ``auto`` times each form on them.
      repeats: int, timed rounds of ``auto``. Defaults to 3.
      bfloat16: bool, whether layers of float32 compute in bfloat16. Defaults to False.

    Returns:
      The form, a function of images that gives logits float32 (B, classes), and the times of each
      form that ``auto`` measured.

    Raises:
      PlanError: the tree cannot have the form.
    """
    if form != "auto":
        return form, _make(tree, form, bfloat16), {}
    expected = _make(tree, "none", bfloat16)(images).numpy()
    tolerance = 3e-2 if bfloat16 else 1e-5
    made = {}
    for name in FORMS:
        try:
            forward = _make(tree, name, bfloat16)
            found = forward(images).numpy()
        except (PlanError, tf.errors.OpError) as error:
            logging.info("%s: %s", name, str(error).splitlines()[0])
            continue
        apart = np.abs(found - expected).max() / max(1e-30, np.abs(expected).max())
        if apart < tolerance:
            made[name] = forward
        else:
            logging.info("%s: %.1e apart, not used.", name, apart)
    cases = {n: lambda f=f: f(images).numpy() for n, f in made.items()}
    timings = interleave(cases, repeats, warmup=1)
    best = min(timings, key=lambda n: timings[n].median)
    return best, made[best], timings


def _make(tree: SplitTree, form: str, bfloat16: bool) -> Callable:
    model = fuse_tree(tree) if form.startswith("grouped") else tree.model

    @tf.function(jit_compile=form.endswith("jit"), reduce_retracing=True, autograph=False)
    def forward(x):
        with inference_layers(model, bfloat16):
            return tf.cast(model(x, training=False), tf.float32)

    return forward
