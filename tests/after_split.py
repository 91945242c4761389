"""Measures what Keras does with a tree that classifies digits, and writes a page of docs/.

    python -m tests.after_split docs/after_split.md

The steps are functions of a tree, which the tests run on a smaller one.
"""

from __future__ import annotations

import itertools
import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import keras
import numpy as np
from keras import layers

import splitnet_tf as sn
from splitnet_tf.data import load_digits
from splitnet_tf.errors import RunError
from splitnet_tf.graph.keras_reader import all_layers
from splitnet_tf.splitting import SplitTree

LOSS = keras.losses.SparseCategoricalCrossentropy(from_logits=True)


def clone(tree: SplitTree) -> SplitTree:
    """A tree of its own with the same weights, by Keras alone."""
    made = keras.models.clone_model(tree.model)
    made.set_weights(tree.model.get_weights())
    return SplitTree(made)


def quantized(tree: SplitTree) -> SplitTree:
    made = clone(tree)
    made.model.quantize("int8")
    return made


def with_lora(tree: SplitTree, rank: int = 4) -> SplitTree:
    made = clone(tree)
    for layer in all_layers(made.model):
        if isinstance(layer, (layers.Dense, layers.Conv2D)):
            layer.enable_lora(rank)
    return made


def fitted(tree: SplitTree, x, y) -> SplitTree:
    """Trains the tree itself for an epoch, by Keras' own means."""
    tree.model.compile(keras.optimizers.Adam(1e-3), LOSS)
    tree.model.fit(x, y, epochs=1, verbose=0)
    return tree


def reloaded(tree: SplitTree) -> tuple[SplitTree, int]:
    """The tree saved and loaded by Keras, and the bytes of its file."""
    with tempfile.TemporaryDirectory() as folder:
        tree.model.save(f"{folder}/tree.keras")
        size = os.path.getsize(f"{folder}/tree.keras")
        return SplitTree(keras.models.load_model(f"{folder}/tree.keras")), size


def answers(tree: SplitTree, x) -> np.ndarray:
    return keras.ops.convert_to_numpy(tree.model(x, training=False))


def answers_of_nodes(tree: SplitTree, x) -> np.ndarray:
    """The tree's answers, put together node by node."""
    made = {None: [x]}
    for node in tree.nodes():
        feeds = [made[f.source][f.index] for f in node.feeds]
        made[node.name] = keras.tree.flatten(node(feeds if len(feeds) > 1 else feeds[0]))
    return keras.ops.convert_to_numpy(made["head"][0])


def apart(found: np.ndarray, wanted: np.ndarray) -> float:
    return float(np.abs(found - wanted).max() / np.abs(wanted).max())


def exported(tree: SplitTree, form: str, x) -> tuple[float, int]:
    """How far an exported file is from the tree, in a fresh process, and its bytes."""
    with tempfile.TemporaryDirectory() as folder:
        manifest = sn.export_tree(tree, f"{folder}/out", [form], inputs=x)
        file = Path(folder, "out", manifest["tree"]["files"][form])
        files = [f for f in file.rglob("*") if f.is_file()] if file.is_dir() else [file]
        return manifest["checked"]["apart"][form], sum(f.stat().st_size for f in files)


HEAD = """# What Keras does with a tree

Keras' own tools take a tree, as it is a Keras model of stock layers. `make after-split` measured
this with a tree of two branches that classifies digits: 8x8 images, {weights:,} weights,
{accuracy:.1f}% of the test images right.

- "Apart" is the largest difference between two answers to {images} test images, relative to the
  largest answer. Exported files ran in a fresh process, on four images.
- Trees are saved and loaded again in the first four rows; answers before and after are equal.

"""
TAIL = """
- `quantize("int8")` of Keras quantizes dense layers and embeddings, and leaves convolutions as they
  are. Quantize the tree: a network that is quantized before the cut is refused. TensorFlow's
  converter to LiteRT does not know Keras' int8 layers.
- LoRA is switched on layer by layer, `layer.enable_lora(rank)`, in the nodes of the tree. A network
  with LoRA is refused before the cut.
- `tree.compiled()` is another function after either of them: ask for it again.
"""


def digits() -> tuple[SplitTree, dict]:
    """A tree that was trained on digits, and the images."""
    keras.utils.set_random_seed(0)
    data = load_digits()
    parts = {}
    for name in ("train", "test"):
        split = getattr(data, name)
        parts[name] = (split.images.astype("float32") / 255, split.labels)
    image = keras.Input(data.input_shape)
    x = layers.Conv2D(16, 3, padding="same", use_bias=False, name="conv1")(image)
    x = layers.ReLU()(layers.BatchNormalization()(x))
    x = layers.MaxPooling2D()(x)
    x = layers.Conv2D(32, 3, padding="same", activation="relu", name="conv2")(x)
    x = layers.Dense(128, activation="relu", name="dense")(layers.Flatten()(x))
    model = keras.Model(image, layers.Dense(10, name="logits")(x), name="digits")
    model.compile(keras.optimizers.Adam(2e-3), LOSS)
    model.fit(*parts["train"], epochs=4, verbose=0)
    grouped = sn.group_model(model, [("conv2", 2)])
    sn.start_from_clusters(grouped)
    tree = sn.split_model(grouped, sn.read_grouping(grouped, "balanced"))
    tree.model.compile(keras.optimizers.Adam(2e-3), LOSS)
    tree.model.fit(*parts["train"], epochs=4, verbose=0)
    with tempfile.TemporaryDirectory() as folder:  # without its optimizer
        tree.model.save(f"{folder}/tree.keras")
        model = keras.models.load_model(f"{folder}/tree.keras", compile=False)
    return SplitTree(model), parts


FORMS = {"saved_model": "SavedModel", "onnx": "ONNX", "litert": "LiteRT"}
HEADER = ("", "apart from", "apart", "accuracy", "size (kB)")


def measured(tree: SplitTree, train, x, y) -> Iterator[tuple[str, ...]]:
    """Rows of the table under ``HEADER``."""
    wanted = answers(tree, x)

    def row(what, beside, distance, found=None, size=None):
        share = "" if found is None else f"{100 * np.mean(found.argmax(axis=1) == y):.1f}%"
        kilobytes = "" if size is None else f"{size / 1000:.0f}"
        return what, beside, f"{distance:.0e}" if distance else "0", share, kilobytes

    made = {
        "saved and loaded": tree,
        "`clone_model`, `set_weights`": clone(tree),
        '`quantize("int8")`': quantized(tree),
        "`enable_lora(4)`": with_lora(tree),
    }
    for what, other in made.items():
        loaded, size = reloaded(other)
        found = answers(loaded, x)
        if apart(found, answers(other, x)):
            raise SystemExit(f"{what}: another tree after loading.")
        yield row(what, "the tree", apart(found, wanted), found, size)
    for what, other in (("`fit`", clone(tree)), ("`enable_lora(4)`, `fit`", with_lora(tree))):
        found = answers(fitted(other, *train), x)
        beside = "its nodes one by one"
        yield row(what, beside, apart(answers_of_nodes(other, x), found), found)
    parts = {"": tree, "int8, ": quantized(tree), "LoRA, `fit`, ": other}
    for what, form in itertools.product(parts, FORMS):
        try:
            distance, size = exported(parts[what], form, x)
            yield row(what + FORMS[form], "what was exported", distance, size=size)
        except RunError as error:
            print(error)
            yield what + FORMS[form], "", "not converted", "", ""


def main(path: str) -> None:
    tree, parts = digits()
    (x, y), rows = parts["test"], [HEADER, ("---",) * len(HEADER)]
    for row in measured(tree, parts["train"], x, y):
        print(*row, sep=" | ", flush=True)
        rows.append(row)
    text = HEAD.format(
        weights=tree.model.count_params(),
        accuracy=100 * np.mean(answers(tree, x).argmax(axis=1) == y),
        images=len(x),
    )
    lines = ["| " + " | ".join(cells) + " |" for cells in rows]
    Path(path).write_text(text + "\n".join(lines) + "\n" + TAIL, encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
