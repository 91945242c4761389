"""Report: one HTML file on one run or several.

splitnet-report RUN_DIR... -o report.html

A run is the folder of a split, of a grouping, or both; a split finds the grouping it was made of.
"""

from __future__ import annotations

from absl import flags

from splitnet_tf.cli.define import define_new_file
from splitnet_tf.cli.program import run_program
from splitnet_tf.report import make_report
from splitnet_tf.storage.atomic import write_atomically

FLAGS = flags.FLAGS


def define_flags() -> None:
    define_new_file(
        "output_file",
        "Write the report here.",
        ".html",
        ".htm",
        short_name="o",
        required=True,
    )


def main(folders: list[str]) -> None:
    if not folders:
        raise flags.Error("Name one run folder or more: splitnet-report RUN_DIR... -o report.html.")
    content = make_report(folders).encode("utf-8", "replace")
    write_atomically(FLAGS.output_file, content)
    print(f"{FLAGS.output_file}: {len(content) / 1e6:.1f} MB; open it with any browser.")


def cli() -> None:
    """Entry point of ``splitnet-report``."""
    define_flags()
    run_program(main, takes_arguments=True)


if __name__ == "__main__":
    cli()
