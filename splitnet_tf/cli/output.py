"""Results on standard output, as a table or as JSON, and in a file."""

from __future__ import annotations

import json
from collections.abc import Callable

from absl import flags

from splitnet_tf.cli.define import define_new_file
from splitnet_tf.storage.atomic import write_atomically

FLAGS = flags.FLAGS
flags.disclaim_key_flags()


def define_output_flags() -> None:
    """``--format`` and ``--output_file``."""
    flags.DEFINE_enum("format", "table", ["table", "json"], "Of the output.")
    define_new_file("output_file", "Also write the JSON here.")


def show(document: dict, as_text: Callable[[dict], str]) -> None:
    """Prints a document as the flags say, and writes it to ``--output_file``."""
    text = json.dumps(document, indent=2)
    print(text if FLAGS.format == "json" else as_text(document), flush=True)
    if FLAGS.output_file:  # last: what was found is seen though the file cannot be written
        write_atomically(FLAGS.output_file, (text + "\n").encode())
