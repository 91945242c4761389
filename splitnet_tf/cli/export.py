"""Export: a tree and each of its nodes, for serving and for other runtimes."""

from __future__ import annotations

from pathlib import Path

from absl import flags

from splitnet_tf.analysis import text_table
from splitnet_tf.cli.define import define_list, define_text
from splitnet_tf.cli.output import define_output_flags, show
from splitnet_tf.cli.program import run_program
from splitnet_tf.runs.names import TREE
from splitnet_tf.splitting import SplitTree
from splitnet_tf.splitting.export import FORMATS, export_tree
from splitnet_tf.stages.networks import check_run_folder
from splitnet_tf.storage.models import load_model

FLAGS = flags.FLAGS


def define_flags() -> None:
    define_text("basemodel", None, "Run folder of a split, or a tree's .keras file.", required=True)
    define_text(
        "export_dir", None, "Folder to make. It must not exist, or be empty.", required=True
    )
    define_list(
        "formats",
        ["saved_model", "keras"],
        f"Formats to write, of {', '.join(FORMATS)}. onnx needs the packages onnx and tf2onnx.",
    )
    define_output_flags()


def main() -> None:
    path = Path(FLAGS.basemodel)
    check_run_folder("basemodel", path, "split first, with split.sh say")
    tree = SplitTree(load_model(path / TREE if path.is_dir() else path))
    manifest = export_tree(tree, FLAGS.export_dir, FLAGS.formats)
    show(as_text(manifest), manifest)


def as_text(manifest: dict) -> str:
    """Tabulates the nodes."""

    rows = []
    for node in manifest["nodes"]:
        reads = ", ".join(f"{f['source'] or 'images'}:{f['index']}" for f in node["feeds"])
        makes = ("x".join(str(d) for d in t["shape"][1:]) for t in node["outputs"])
        rows.append((node["name"], reads, " ".join(makes)))
    table = text_table(("node", "reads", "makes"), rows)
    formats = ", ".join(manifest["tree"]["files"])
    return f"{table}\n\nWritten to {FLAGS.export_dir} as {formats}; see its manifest.json."


def cli() -> None:
    """Runs ``splitnet-export``."""
    define_flags()
    run_program(main)


if __name__ == "__main__":
    cli()
