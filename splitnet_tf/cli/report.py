"""Report: one HTML file on one run or several.

splitnet-report RUN_DIR... -o report.html

A run is the folder of a split, of a grouping, or both; a split finds the grouping it was made of.
"""

from __future__ import annotations

from absl import flags

from splitnet_tf.cli.define import define_new_file
from splitnet_tf.cli.program import run_program
from splitnet_tf.report import write_report

FLAGS = flags.FLAGS


def define_flags() -> None:
    define_new_file(
        "output_file",
        "HTML file to write the report to.",
        ".html",
        ".htm",
        short_name="o",
        required=True,
    )


def main(folders: list[str]) -> None:
    if not folders:
        raise flags.Error("Name one run folder or more: splitnet-report RUN_DIR... -o report.html.")
    size = write_report(folders, FLAGS.output_file).stat().st_size
    print(f"{FLAGS.output_file}: {size / 1e6:.1f} MB; open it with any browser.")


def cli() -> None:
    """Runs ``splitnet-report``."""
    define_flags()
    run_program(main, takes_arguments=True)


if __name__ == "__main__":
    cli()
