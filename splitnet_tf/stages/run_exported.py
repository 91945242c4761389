"""Run of exported files, by a process that has nothing else: ``python -c <this text> job.json``.

The job names a folder, its manifest, an ``.npz`` of inputs and expected outputs, and a file for the
report. Every file is run twice. The report says for each of them how far the first answer is from
the expected one, and the second from the first, relative to the largest number.
"""

import json
import os
import sys

import numpy as np

# The working directory may hold folders with the names of packages.
sys.path = [path for path in sys.path if path]


def load_saved_model(file, entry):
    import tensorflow as tf

    served = tf.saved_model.load(file)
    (signature,) = served.serve.concrete_functions
    (inputs,), _ = signature.structured_input_signature

    def call(xs):
        xs = [tf.constant(x) for x in xs]
        return tf.nest.flatten(served.serve(tf.nest.pack_sequence_as(inputs, xs)))

    return call


def load_keras(file, entry):
    import keras

    model = keras.models.load_model(file)

    def call(xs):
        sequential = isinstance(model, keras.Sequential)  # takes one tensor
        inputs = model.inputs[0] if sequential else model.input
        return keras.tree.flatten(model(keras.tree.pack_sequence_as(inputs, xs)))

    return call


def load_onnx(file, entry):
    import onnxruntime

    session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
    names = [tensor["name"] for tensor in entry["inputs"]]
    return lambda xs: session.run(None, dict(zip(names, xs, strict=True)))


def place(name):
    """Key that puts ``output_2`` before ``output_10``, and other names by the alphabet."""
    stem, _, number = name.rpartition("_")
    return (stem, int(number), "") if stem == "output" and number.isdigit() else (name, 0, name)


def load_litert(file, entry):
    from ai_edge_litert.interpreter import Interpreter

    run = Interpreter(file).get_signature_runner("serving_default")
    names = [tensor["name"] for tensor in entry["inputs"]]
    order = sorted(run.get_output_details(), key=place)

    def call(xs):
        made = run(**dict(zip(names, xs, strict=True)))
        return [made[name] for name in order]

    return call


def apart(found, wanted):
    """Largest difference relative to the largest expected number; infinite for other shapes."""
    if len(found) != len(wanted):
        return float("inf")
    worst = 0.0
    for a, b in zip(found, wanted, strict=True):
        if a.shape != b.shape or not (np.isfinite(a) == np.isfinite(b)).all():
            return float("inf")
        a, b = a.astype("float64"), b.astype("float64")
        difference, scale = np.abs(np.nan_to_num(a - b)), np.abs(np.nan_to_num(b))
        worst = max(worst, difference.max(initial=0) / max(scale.max(initial=0), 1e-30))
    return worst


def reason(error):
    """Line of an error that says what is wrong; Keras puts it after this mark."""
    text = str(error).strip()
    return (text.rpartition("Exception encountered: ")[2].splitlines() or [""])[0]


def check(load, job, arrays, form):
    """Runs the tree, then the nodes, each on what the nodes before it made."""
    inputs = [arrays[f"input_{i}"] for i in range(len(job["manifest"]["tree"]["inputs"]))]
    made, report = {None: inputs}, {}
    for entry in [job["manifest"]["tree"], *job["manifest"]["nodes"]]:
        name, file = entry.get("name"), entry["files"][form]
        try:
            call = load(os.path.join(job["folder"], file), entry)
            feeds = entry.get("feeds")
            xs = inputs if feeds is None else [made[f["source"]][f["index"]] for f in feeds]
            first, second = ([np.array(y) for y in call(xs)] for _ in range(2))
        except Exception as error:
            report[file] = {"failed": f"{type(error).__name__}: {reason(error)}"}
            return report
        if name:
            made[name] = first
        wanted = [arrays[f"{name or 'tree'}:{i}"] for i in range(len(entry["outputs"]))]
        report[file] = {"apart": apart(first, wanted), "twice": apart(second, first)}
    return report


def main(path):
    with open(path) as file:
        job = json.load(file)
    loaders = {
        "saved_model": load_saved_model,
        "keras": load_keras,
        "onnx": load_onnx,
        "litert": load_litert,
    }
    with np.load(job["arrays"], allow_pickle=False) as arrays:
        report = {form: check(loaders[form], job, arrays, form) for form in job["formats"]}
    with open(job["report"], "w") as file:
        json.dump(report, file)


main(sys.argv[1])
