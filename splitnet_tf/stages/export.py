"""Export of a tree or a model, checked before it gets its name, in Python and from a run."""

from __future__ import annotations

import importlib.util
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np

from splitnet_tf.data import Dataset, Pictures
from splitnet_tf.errors import DataError, RunError
from splitnet_tf.recipe.preprocessing import NONE, Preprocessing
from splitnet_tf.runs.names import RESULTS, SMALL, TREE
from splitnet_tf.splitting import SplitTree, WholeModel, is_tree
from splitnet_tf.splitting.export import RUNTIMES, write_tree
from splitnet_tf.splitting.raw_inputs import with_front
from splitnet_tf.stages.check_exported import (
    EXAMPLES,
    check_exported,
    drawn_inputs,
    first_examples,
)
from splitnet_tf.stages.preprocessing import (
    known_of,
    notes_of,
    preprocessing_known,
    takes_images,
)
from splitnet_tf.stages.run_data import run_dataset
from splitnet_tf.stages.run_files import model_file
from splitnet_tf.storage.models import load_model

FORMATS = ("saved_model", "keras")


def export_tree(
    tree: SplitTree | keras.Model,
    folder: str | Path,
    formats: Sequence[str] = FORMATS,
    *,
    check: bool = True,
    inputs: Any = None,
    inputs_from: str = "given inputs",
    preprocessing: Preprocessing | str | None = None,
    include_preprocessing: bool = True,
    dtype: str | None = None,
    value_range: Sequence[float] | None = None,
    scaling: str | None = None,
    bfloat16: bool = False,
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
      preprocessing: how the inputs of the tree were prepared, such as ``"scale01"``. Defaults to
        None: not known, so that the tree is written as it is.
      include_preprocessing: bool, whether the files prepare their inputs themselves, by stock
        operations in front of the tree and of each node that reads the inputs: they take raw
        numbers, and so must ``inputs``. Defaults to True.
      dtype: str, type of the raw numbers. Defaults to that of ``inputs``, or else to uint8 for
        pixels and float32.
      value_range: least and largest raw number, for the manifest. Defaults to 0 to 255 for pixels.
      scaling: str, words for how pictures became inputs, for the manifest. Defaults to none.
      bfloat16: bool, whether layers of float32 compute in bfloat16 in SavedModels, with weights,
        inputs and outputs in float32; ``.keras`` files stay as they are. Defaults to False.

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
    more = {"bfloat16": bfloat16}
    if preprocessing is not None:
        if isinstance(preprocessing, str):
            preprocessing = Preprocessing.parse(preprocessing)
        if inputs is not None and dtype is None:
            dtype = str(np.asarray(keras.tree.flatten(inputs)[0]).dtype)
        if include_preprocessing and (preprocessing != NONE or len(tree.model.inputs) == 1):
            dtype = dtype or ("uint8" if preprocessing.of_pixels else "float32")
            tree = with_front(tree, preprocessing, dtype)
        more |= _about(tree, preprocessing, include_preprocessing, value_range, scaling)
    if not check:
        return write_tree(tree, folder, formats, **more)
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
        apart = check_exported(written, manifest, tree, examples, bfloat16=bfloat16)
        return {"inputs": inputs_from, "examples": count, "apart": apart}

    return write_tree(tree, folder, formats, checked, **more)


def _about(
    tree: SplitTree | WholeModel,
    preprocessing: Preprocessing,
    included: bool,
    value_range: Sequence[float] | None,
    scaling: str | None,
) -> dict[str, Any]:
    """Entries of the manifest and notes in the files on what inputs are expected."""
    if value_range is None and preprocessing.of_pixels:
        value_range = (0, 255)
    found = {**preprocessing.to_document(), "included": included}
    expected = {
        "dtype": str(tree.model.inputs[0].dtype),
        "range": list(value_range) if included and value_range is not None else None,
        **({} if scaling is None else {"scaling": scaling}),
    }
    return {
        "about": {"preprocessing": found, "expects": expected},
        "notes": notes_of(NONE if included else preprocessing),
    }


def export_run(
    base: str | Path,
    folder: str | Path,
    formats: Sequence[str] = FORMATS,
    *,
    check: bool = True,
    preprocessing: Preprocessing | None = None,
    include_preprocessing: bool = True,
    bfloat16: bool = False,
) -> dict:
    """Exports the model of a run folder, checked on the first images of the run's own test data.

    Args:
      base: run folder of a split or a shrink, or a ``.keras`` file.
      folder, formats, check, include_preprocessing, bfloat16: see ``export_tree``. Where the
        folder names no data, or its data cannot be read, inputs are drawn; the manifest says so.
      preprocessing: preparation of the inputs. Defaults to what the model was trained with; where
        nothing says it, the model is written as it is.

    Raises:
      RunError: no tree there, or see ``export_tree``.
      ArgumentError: another preprocessing than the model was trained with.
    """
    file = model_file("base", base, (TREE, SMALL))
    model = load_model(file)
    known = known_of("base", base, (TREE, SMALL))
    found = preprocessing_known(known, preprocessing, takes_images(model))
    how = {"preprocessing": found, "include_preprocessing": include_preprocessing}
    how["bfloat16"] = bfloat16
    dataset = _dataset(file)
    if dataset is None:
        return export_tree(model, folder, formats, check=check, **how)
    raw = dataset.test.images[:EXAMPLES]
    images = dataset.train.images
    bytes_given = images.dtype == np.uint8
    low, high = (0, 255) if bytes_given else (images.min().item(), images.max().item())
    if found is not None and not include_preprocessing:
        raw = keras.ops.convert_to_numpy(found(raw))
    return export_tree(
        *(model, folder, formats),
        check=check,
        inputs=raw,
        inputs_from=f"test images of {dataset.name}",
        value_range=(low, high),
        scaling=images.scaling if isinstance(images, Pictures) else None,
        **how,
    )


def _dataset(file: Path) -> Dataset | None:
    """The data of the run that wrote a model; None where there are none that can be read."""
    if file.name not in RESULTS:  # a file that only lies there
        return None
    try:
        return run_dataset(file.parent)
    except (DataError, RunError) as error:
        logging.warning(
            "The run's data cannot be read (%s): inputs are drawn to check with, and raw inputs "
            "are taken to be bytes for pixels, float32 otherwise.",
            str(error).rstrip("."),
        )
        return None
