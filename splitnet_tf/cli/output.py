"""Results on standard output, as a table or as JSON, and in a file."""

from __future__ import annotations

import json
from typing import Any

from absl import flags

from splitnet_tf.cli.define import define_new_file
from splitnet_tf.storage.atomic import write_atomically

FLAGS = flags.FLAGS
flags.disclaim_key_flags()


def define_output_flags() -> None:
    """``--format`` and ``--output_file``."""
    flags.DEFINE_enum("format", "table", ["table", "json"], "Format of the output.")
    define_new_file("output_file", "File to write the output to, as JSON.")


def show(found: Any, document: dict[str, Any] | None = None) -> None:
    """Prints a result as the flags say, and writes its JSON to ``--output_file``.

    Args:
      found: prints as text; has ``to_document()`` unless ``document`` is given.
      document: the same for JSON.
    """
    text = json.dumps(document or found.to_document(), indent=2)
    print(text if FLAGS.format == "json" else found, flush=True)
    if FLAGS.output_file:  # last: what was found is seen though the file cannot be written
        write_atomically(FLAGS.output_file, (text + "\n").encode())
