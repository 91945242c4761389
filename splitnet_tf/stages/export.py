"""Export of a tree or a model, checked before it gets its name, in Python and from a run."""

from __future__ import annotations

import importlib.util
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras

from splitnet_tf.data import load_dataset
from splitnet_tf.data.feeds import SplitFeed
from splitnet_tf.errors import DataError, RunError
from splitnet_tf.runs import read_config
from splitnet_tf.runs.names import CONFIG, SMALL, TREE
from splitnet_tf.splitting import SplitTree, WholeModel, is_tree
from splitnet_tf.splitting.export import write_tree
from splitnet_tf.stages.check_exported import (
    EXAMPLES,
    check_exported,
    drawn_inputs,
    first_examples,
)
from splitnet_tf.stages.networks import check_run_folder
from splitnet_tf.storage.models import load_model

FORMATS = ("saved_model", "keras")
RUNTIMES = {"onnx": "onnxruntime", "litert": "ai_edge_litert"}


def export_tree(
    tree: SplitTree | keras.Model,
    folder: str | Path,
    formats: Sequence[str] = FORMATS,
    *,
    check: bool = True,
    inputs: Any = None,
    inputs_from: str = "given inputs",
) -> dict:
    """Writes a tree whole and node by node, with a manifest of the tensors between nodes.

    A model that is not a tree is written as ``folder/model``, without nodes.

    ``folder/tree`` is the whole tree, ``folder/nodes/<name>`` each node; a format's suffix is
    added to both. ``folder/manifest.json`` lists the nodes in the order in which they can run; each
    input of a node is output ``index`` of node ``source``, or of the images where that is null.
    Its ``checked`` says for each format how far the answers are from the tree's.

    Args:
      tree: ``SplitTree`` to export, or a functional ``keras.Model`` such as a shrunk one.
      folder: path of the folder to make; must not exist, or be empty.
      formats: names among ``"saved_model"``, ``"keras"``, ``"onnx"``, ``"litert"``. Defaults to
        the first two.
      check: bool, whether everything written is run twice in a fresh process, the nodes one after
        another, and compared with the tree (1e-4 of the largest output; 1e-2 and 3e-2 with
        layers in float16 and bfloat16). Defaults to True.
      inputs: arrays as ``tree.model`` takes them, to check with; the first four examples are
        taken. Defaults to None, inputs drawn at random.
      inputs_from: str, words for ``inputs`` in the manifest. Defaults to ``"given inputs"``.

    Returns:
      The manifest, a dict.

    Raises:
      RunError: an unknown format, a package that is missing, a folder that is not empty, a layer
        that a format does not know, or a file that fails the check; nothing is left behind.
      ArgumentError: inputs that the tree does not take.

    >>> import tempfile
    >>> net = sn.models.mlp((8,), num_classes=4, input_shape=(6,))
    >>> plan = sn.SplitPlan.from_sections(net, [("logits", 2)])
    >>> tree = sn.split_model(net, sn.Grouping.even(plan), plan)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     manifest = sn.export_tree(tree, folder, formats=["keras"], check=False)
    >>> [node["name"] for node in manifest["nodes"]]
    ['trunk', 'branch_0', 'branch_1', 'head']
    """
    if isinstance(tree, keras.Model):
        tree = SplitTree(tree) if is_tree(tree) else WholeModel(tree)
    if not check:
        return write_tree(tree, folder, formats)
    for name in formats:
        package = RUNTIMES.get(name)
        if package and importlib.util.find_spec(package) is None:
            raise RunError(
                f"The check of format '{name}' needs the package {package}, which is not "
                "installed; install it, or export without a check by `check=False`."
            )
    if inputs is None:
        examples, inputs_from = drawn_inputs(tree.model), "drawn inputs"
    else:
        examples = first_examples(tree.model, inputs)
    count = len(keras.tree.flatten(examples)[0])

    def checked(written: Path, manifest: dict) -> dict:
        apart = check_exported(written, manifest, tree, examples)
        return {"inputs": inputs_from, "examples": count, "apart": apart}

    return write_tree(tree, folder, formats, checked)


def export_run(
    base: str | Path,
    folder: str | Path,
    formats: Sequence[str] = FORMATS,
    *,
    check: bool = True,
) -> dict:
    """Exports the model of a run folder, checked on the first images of the run's own test data.

    Args:
      base: run folder of a split or a shrink, or a ``.keras`` file.
      folder, formats, check: see ``export_tree``. Where the folder names no data, or
        its data cannot be read, inputs are drawn; the manifest says so.

    Raises:
      RunError: no tree there, or see ``export_tree``.
    """
    path = Path(base)
    check_run_folder("basemodel", path, "split first, with split.sh say")
    file = path
    if path.is_dir():
        file = next((path / n for n in (TREE, SMALL) if (path / n).is_file()), path / TREE)
    tree = load_model(file)
    found = _first_images(file.parent) if check else None
    if found is None:
        return export_tree(tree, folder, formats, check=check)
    images, name = found
    return export_tree(tree, folder, formats, inputs=images, inputs_from=f"test images of {name}")


def _first_images(folder: Path) -> tuple[Any, str] | None:
    """First test images of a run's data, as its model takes them, and their name; None without."""
    if not (folder / CONFIG).is_file():
        return None
    try:
        config = read_config(folder)
        dataset = load_dataset(config["dataset"], config.get("data_dir"), config.get("seed", 0))
    except (KeyError, DataError, RunError) as error:
        logging.warning(
            "The run's data cannot be read to check with (%s); inputs are drawn.", error
        )
        return None
    batch = next(iter(SplitFeed(dataset.test, EXAMPLES).evaluation(EXAMPLES)))
    return batch[0], dataset.name
