"""Files of a tree and its nodes that need neither this package nor, some, Keras."""

from __future__ import annotations

import contextlib
import importlib.util
import json
import logging
import os
import shutil
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np

from splitnet_tf.errors import RunError
from splitnet_tf.graph.keras_reader import functional_model
from splitnet_tf.graph.mixed_precision import in_bfloat16
from splitnet_tf.splitting import Node, SplitTree, WholeModel
from splitnet_tf.storage.models import save_model

# Format to the suffix of its files, Keras' name for it, and the packages it needs besides.
FORMATS = {
    "saved_model": ("", "tf_saved_model", ()),
    "keras": (".keras", None, ()),
    "onnx": (".onnx", "onnx", ("onnx", "tf2onnx")),
    "litert": (".tflite", "litert", ()),
}
RUNTIMES = {"onnx": "onnxruntime", "litert": "ai_edge_litert"}  # packages
BFLOAT16 = "saved_model"  # the format that can compute in it
OPEN_SIZE = 96  # of axes that a model leaves open, where it is tried


def write_tree(
    tree: SplitTree | WholeModel,
    folder: str | Path,
    formats: Sequence[str],
    check: Callable[[Path, dict], Any] | None = None,
    *,
    about: Mapping[str, Any] | None = None,
    notes: Mapping[str, Any] | None = None,
    bfloat16: bool = False,
) -> dict:
    """Writes a tree whole and node by node, with a manifest of the tensors between nodes.

    ``folder/tree`` is the whole tree, ``folder/nodes/<name>`` each node; a format's suffix is
    added to both. A model that is not a tree is ``folder/model`` and has no nodes.
    ``folder/manifest.json`` lists the nodes in the order in which they can run; each input of a
    node is output ``index`` of node ``source``, or of the images where that is null.

    Args:
      tree: ``SplitTree`` to write, or ``WholeModel``.
      folder: path of the folder to make; must not exist, or be empty.
      formats: names among ``FORMATS``.
      check: function of the folder and the manifest, called before the folder gets its name;
        what it returns is ``checked`` in the manifest, and an error leaves nothing behind.
        Defaults to no check.
      about: further entries of the manifest. Defaults to none.
      notes: notes in the ``.keras`` files, see ``save_model``. Defaults to none.
      bfloat16: bool, whether layers of float32 compute in bfloat16 in SavedModels; weights, inputs
        and outputs stay in float32, and so do ``.keras`` files. Defaults to False.

    Returns:
      The manifest, a dict.

    Raises:
      RunError: an unknown format, a package that is missing, a folder that is not empty, or a
        layer that a format does not know.
    """
    folder = Path(os.path.abspath(folder))
    _check(folder, formats, bfloat16)
    beside = folder.with_name(f".{folder.name}.{os.getpid()}.export")
    shutil.rmtree(beside, ignore_errors=True)
    try:
        (beside / "nodes").mkdir(parents=True)
        manifest = {**_manifest(tree, formats), **(about or {})}
        if bfloat16:
            manifest["bfloat16"] = [name for name in formats if name == BFLOAT16]
        for name in formats:
            _write(tree.model, beside, manifest["tree"]["files"][name], name, notes, bfloat16)
            for node, entry in zip(tree.nodes(), manifest["nodes"], strict=True):
                _write(node.model, beside, entry["files"][name], name, notes, bfloat16)
        manifest["checked"] = check(beside, manifest) if check else None
        text = json.dumps(manifest, indent=2) + "\n"
        (beside / "manifest.json").write_text(text, encoding="utf-8")
        if folder.is_dir():
            folder.rmdir()
        os.replace(beside, folder)
    except OSError as error:
        raise RunError(f"Export folder {folder} cannot be written: {error.strerror}.") from None
    finally:
        shutil.rmtree(beside, ignore_errors=True)
    return manifest


def _check(folder: Path, formats: Sequence[str], bfloat16: bool) -> None:
    for name in formats:
        if bfloat16 and name in RUNTIMES:
            raise RunError(
                f"The runtime of format '{name}' does not compute in bfloat16; leave the format "
                "or `bfloat16` out."
            )
        if name not in FORMATS:
            raise RunError(f"`formats` must be of {', '.join(FORMATS)}; got '{name}'.")
        for package in FORMATS[name][2]:
            if importlib.util.find_spec(package) is None:
                raise RunError(
                    f"Format '{name}' needs the package {package}, which is not installed; "
                    f"install it or leave the format out."
                )
    if not formats:
        raise RunError(f"`formats` is empty; choose of {', '.join(FORMATS)}.")
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise RunError(f"Export folder {folder} is not empty; choose another or remove it.")


def _manifest(tree: SplitTree | WholeModel, formats: Sequence[str]) -> dict:
    def files(stem):
        return {name: stem + FORMATS[name][0] for name in formats}

    def entry(node: Node) -> dict:
        return {
            "name": node.name,
            "parent": node.parent,
            "feeds": [{"source": f.source, "index": f.index} for f in node.feeds],
            "inputs": [_tensor(x) for x in node.model.inputs],
            "outputs": [_tensor(x) for x in node.model.outputs],
            "files": files(f"nodes/{node.name}"),
        }

    return {
        "version": 1,
        "model": tree.model.name,
        "tree": {
            "inputs": [_tensor(x) for x in tree.model.inputs],
            "outputs": [_tensor(x) for x in tree.model.outputs],
            "files": files("tree" if isinstance(tree, SplitTree) else "model"),
        },
        "nodes": [entry(node) for node in tree.nodes()],
    }


def _tensor(x) -> dict:
    return {"name": x.name, "shape": list(x.shape), "dtype": str(x.dtype)}


def _write(
    model: keras.Model,
    folder: Path,
    file: str,
    name: str,
    notes: Mapping[str, Any] | None,
    bfloat16: bool,
) -> None:
    kind = FORMATS[name][1]
    if kind is None:
        save_model(model, folder / file, notes)
        return
    try:
        with _quiet():
            if name == "onnx":  # Keras takes only models that have been called once
                zeros = [np.zeros(example_shape(x, 1), x.dtype) for x in model.inputs]
                form = functional_model(model).input
                model(keras.tree.pack_sequence_as(form, zeros), training=False)
            written = in_bfloat16(model) if bfloat16 and name == BFLOAT16 else model
            written.export(str(folder / file), format=kind, verbose=False)
    except OSError:
        raise
    except Exception as error:  # converters raise many kinds for layers that they do not know
        reason = (str(error).strip().splitlines() or [""])[0]
        raise RunError(
            f"Model '{model.name}' cannot be exported as {name} ({type(error).__name__}: "
            f"{reason[:160]}); leave that format out."
        ) from error


def example_shape(x: keras.KerasTensor, count: int) -> tuple[int, ...]:
    """Shape of ``count`` examples of an input; axes that it leaves open are ``OPEN_SIZE``."""
    return count, *(OPEN_SIZE if n is None else n for n in x.shape[1:])


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keeps out of the log what converters tell of their work; what fails is an error."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)
