"""Export: a tree and each of its nodes, or a shrunk model, for serving and other runtimes."""

from __future__ import annotations

from absl import flags

from splitnet_tf.analysis import text_table
from splitnet_tf.cli.data_flags import define_preprocessing_flag, given_preprocessing
from splitnet_tf.cli.define import define_list, define_text
from splitnet_tf.cli.output import define_output_flags, show
from splitnet_tf.cli.program import run_program
from splitnet_tf.splitting.export import FORMATS
from splitnet_tf.stages.export import export_run

FLAGS = flags.FLAGS


def define_flags() -> None:
    define_text(
        "basemodel", None, "Run folder of a split or a shrink, or a .keras file.", required=True
    )
    define_text(
        "export_dir", None, "Folder to make. It must not exist, or be empty.", required=True
    )
    define_list(
        "formats",
        ["saved_model", "keras"],
        f"Formats to write, of {', '.join(FORMATS)}. onnx needs the packages onnx and tf2onnx, "
        "and its check onnxruntime; the check of litert needs ai-edge-litert.",
    )
    flags.DEFINE_boolean(
        "check",
        True,
        "Run everything written twice in a fresh process, on the first test images of the run's "
        "data, and compare it with the tree before it is kept.",
    )
    define_preprocessing_flag(
        "Preparation of the inputs that the model was trained with. Defaults to what its file or "
        "run says."
    )
    flags.DEFINE_boolean(
        "include_preprocessing",
        True,
        "Put the preparation of the inputs in front of the model, so that what is written takes "
        "raw numbers as the data set has them.",
    )
    flags.DEFINE_boolean(
        "bfloat16",
        False,
        "Compute layers in bfloat16 in a SavedModel. Weights, inputs and outputs stay in float32, "
        "and so do .keras files.",
    )
    define_output_flags()


def main() -> None:
    manifest = export_run(
        *(FLAGS.basemodel, FLAGS.export_dir, FLAGS.formats),
        check=FLAGS.check,
        preprocessing=given_preprocessing(None),
        include_preprocessing=FLAGS.include_preprocessing,
        bfloat16=FLAGS.bfloat16,
    )
    show(as_text(manifest), manifest)


def as_text(manifest: dict) -> str:
    """Tabulates the nodes of a tree; a model by itself has none."""
    rows = []
    for node in manifest["nodes"]:
        reads = ", ".join(f"{f['source'] or 'images'}:{f['index']}" for f in node["feeds"])
        makes = ("x".join(str(d) for d in t["shape"][1:]) for t in node["outputs"])
        rows.append((node["name"], reads, " ".join(makes)))
    table = [text_table(("node", "reads", "makes"), rows), ""] if rows else []
    formats = ", ".join(manifest["tree"]["files"])
    lines = [f"Written to {FLAGS.export_dir} as {formats}; see its manifest.json."]
    if manifest.get("bfloat16"):
        lines.append(f"{', '.join(manifest['bfloat16'])} computes in bfloat16.")
    expects, fed = manifest.get("expects"), manifest.get("preprocessing")
    if expects:
        prepared = "raw" if fed["included"] else f"prepared by --preprocessing={fed['kind']}"
        low, high = expects["range"] or (None, None)
        span = "" if low is None else f" from {low:g} to {high:g}"
        lines.append(f"It takes {prepared} inputs, {expects['dtype']}{span}.")
    checked = manifest["checked"]
    if checked:
        apart = ", ".join(f"{name} {value:.1g}" for name, value in checked["apart"].items())
        lines.append(
            f"Run in a fresh process on {checked['examples']} {checked['inputs']}; apart from the "
            f"model, relative to the largest output: {apart}."
        )
    return "\n".join([*table, *lines])


def cli() -> None:
    """Runs ``splitnet-export``."""
    define_flags()
    run_program(main)


if __name__ == "__main__":
    cli()
