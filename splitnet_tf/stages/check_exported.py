"""Check of an export: what was written runs in a fresh process and answers as the tree does."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import keras
import numpy as np

from splitnet_tf.errors import ArgumentError, RunError
from splitnet_tf.graph.keras_reader import all_layers, functional_model
from splitnet_tf.splitting import SplitTree, WholeModel
from splitnet_tf.splitting.export import BFLOAT16, example_shape

EXAMPLES = 4  # that each file is run on
# Largest difference relative to the largest output, by the narrowest type that a layer computes in.
TOLERANCES = {"bfloat16": 3e-2, "float16": 1e-2}
TOLERANCE = 1e-4


def check_exported(
    folder: Path,
    manifest: Mapping[str, Any],
    tree: SplitTree | WholeModel,
    inputs: Any,
    *,
    bfloat16: bool = False,
) -> dict:
    """Runs exported files twice in a fresh process and compares them with the tree.

    Args:
      folder: folder of the files.
      manifest: manifest of the export.
      tree: ``SplitTree`` that was exported.
      inputs: inputs of the tree as ``tree.model`` takes them, arrays.
      bfloat16: bool, whether SavedModels compute in bfloat16. Defaults to False.

    Returns:
      For each format the largest difference from the tree, relative to the largest output.

    Raises:
      RunError: a file that does not run, differs from the tree, or gives two answers.
    """
    with tempfile.TemporaryDirectory(prefix="splitnet-") as place:
        job = {
            "folder": str(folder),
            "manifest": manifest,
            "formats": list(manifest["tree"]["files"]),
            "arrays": f"{place}/arrays.npz",
            "report": f"{place}/report.json",
        }
        np.savez(job["arrays"], **_expected(tree, inputs))
        Path(place, "job.json").write_text(json.dumps(job), encoding="utf-8")
        _run(f"{place}/job.json", job["formats"])
        report = json.loads(Path(job["report"]).read_text(encoding="utf-8"))
    tolerance = _tolerance(tree)
    for form, found in report.items():
        narrow = bfloat16 and form == BFLOAT16
        for file, result in found.items():
            _check(file, result, TOLERANCES["bfloat16"] if narrow else tolerance)
    return {form: max(r["apart"] for r in found.values()) for form, found in report.items()}


def _run(job: str, formats: list[str]) -> None:
    code = Path(__file__).with_name("run_exported.py").read_text(encoding="utf-8")
    # This process may hold the memory of the GPUs.
    more = {"CUDA_VISIBLE_DEVICES": "-1", "TF_CPP_MIN_LOG_LEVEL": "3"}
    more["KERAS_BACKEND"] = keras.backend.backend()
    if "saved_model" in formats:  # TensorFlow is there anyhow
        more["KERAS_BACKEND"] = "tensorflow"
    done = subprocess.run(
        [sys.executable, "-c", code, job],
        env={**os.environ, **more},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        lines = [line for line in done.stderr.splitlines() if line.strip()] or ["no message"]
        raise RunError(
            f"The process that checks the export ended with code {done.returncode} "
            f"({lines[-1].strip()[:200]}); nothing is written. Without a check: `check=False`."
        )


def _check(file: str, result: Mapping[str, Any], tolerance: float) -> None:
    reason = None
    if "failed" in result:
        reason = f"does not run in a fresh process ({result['failed'][:200]})"
    elif not result["twice"] <= tolerance:
        reason = f"gives two answers to the same input ({result['twice']:.1g} apart)"
    elif not result["apart"] <= tolerance:
        reason = f"answers otherwise than the tree ({result['apart']:.1g} apart)"
    if reason:
        raise RunError(
            f"Exported file {file} {reason}; nothing is written. Leave its format out, or write it "
            "without a check by `check=False`."
        )


def _tolerance(tree: SplitTree | WholeModel) -> float:
    types = {layer.compute_dtype for layer in all_layers(tree.model)}
    return next((TOLERANCES[t] for t in TOLERANCES if t in types), TOLERANCE)


def _expected(tree: SplitTree | WholeModel, inputs: Any) -> dict[str, np.ndarray]:
    """Inputs, and outputs of the tree and its nodes, by the names that the process asks for."""

    def run(model, xs):
        made = model(keras.tree.pack_sequence_as(functional_model(model).input, xs), training=False)
        return keras.tree.flatten(made)

    # On the processor, as the other process: a GPU may multiply in fewer digits.
    on_tensorflow = keras.backend.backend() == "tensorflow"
    with keras.device("cpu:0") if on_tensorflow else contextlib.nullcontext():
        flat = keras.tree.flatten(inputs)
        made = {None: [keras.ops.convert_to_tensor(x) for x in flat]}
        whole = run(tree.model, made[None])
        for node in tree.nodes():
            made[node.name] = run(node.model, [made[f.source][f.index] for f in node.feeds])
    found = {f"input_{i}": x for i, x in enumerate(made.pop(None))}
    for name, outputs in {"tree": whole, **made}.items():
        found.update({f"{name}:{i}": y for i, y in enumerate(outputs)})
    return {name: _array(x) for name, x in found.items()}


def _array(x: Any) -> np.ndarray:
    # NumPy has no bfloat16 that it can save.
    wide = keras.backend.standardize_dtype(x.dtype) == "bfloat16"
    return keras.ops.convert_to_numpy(keras.ops.cast(x, "float32") if wide else x)


def first_examples(model: keras.Model, inputs: Any) -> Any:
    """Takes the first few examples of arrays that a model takes.

    Raises:
      ArgumentError: other arrays than the model takes, or none.
    """
    flat = [np.asarray(x)[:EXAMPLES] for x in keras.tree.flatten(inputs)]
    shapes = [tuple(x.shape[1:]) for x in model.inputs]
    fits = len(flat) == len(shapes) and all(
        x.ndim == len(shape) + 1
        and len(x)
        and all(b in (None, a) for a, b in zip(x.shape[1:], shape, strict=True))
        for x, shape in zip(flat, shapes, strict=True)
    )
    if not fits:
        raise ArgumentError(
            f"`inputs` must be arrays of examples of shape {', '.join(map(str, shapes))}; got "
            f"shapes {', '.join(str(x.shape) for x in flat)}."
        )
    cast = [x.astype(t.dtype) for x, t in zip(flat, model.inputs, strict=True)]
    return keras.tree.pack_sequence_as(functional_model(model).input, cast)


def drawn_inputs(model: keras.Model, seed: int = 0) -> Any:
    """Draws inputs of a model: normal numbers, and whole numbers that its layers have a row for.

    Raises:
      ArgumentError: inputs of a type that is not drawn.
    """
    rng = np.random.default_rng(seed)
    sizes = [
        getattr(x, "input_dim", None) or getattr(x, "num_tokens", None) for x in all_layers(model)
    ]
    high = min([n for n in sizes if isinstance(n, int)], default=256)
    drawn = []
    for x in model.inputs:
        shape = example_shape(x, EXAMPLES)
        if keras.backend.is_float_dtype(x.dtype):
            values = rng.normal(size=shape)
        elif keras.backend.is_int_dtype(x.dtype):
            values = rng.integers(0, min(high, np.iinfo(x.dtype).max), shape)
        elif x.dtype == "bool":
            values = rng.integers(0, 2, shape)
        else:
            raise ArgumentError(
                f"Give `inputs` to check the export with: input '{x.name}' is of type {x.dtype}, "
                "which is not drawn; or `check=False`."
            )
        drawn.append(values.astype(x.dtype))
    return keras.tree.pack_sequence_as(functional_model(model).input, drawn)
