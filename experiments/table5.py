"""Table 5: parallel evaluation, from the benchmark, on the devices of this machine."""

from __future__ import annotations

import logging
import shlex
import subprocess
import sys
from pathlib import Path

from absl import flags

from splitnet_tf.cli.define import define_text
from splitnet_tf.cli.program import run_program
from splitnet_tf.errors import RunError
from splitnet_tf.storage.json_files import read_json, write_json

FLAGS = flags.FLAGS

SCALES = {
    "smoke": (
        *("--model=wrn-10-1", "--repeats=3", "--batches=1", "--batch_size=20"),
        "--rows=deep replicate",
    ),
    "small": ("--repeats=3",),
    "small-bfloat16": ("--repeats=3", "--bfloat16"),
    "paper": ("--repeats=7",),
    "modern": ("--repeats=7", "--rows=deep,hierarchical"),
}


def main() -> None:
    path = Path(FLAGS.runs) / FLAGS.scale / "table5" / "table5.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    command = ["-m", "splitnet_tf.cli.benchmark", *SCALES[FLAGS.scale]]
    said = shlex.join(command)
    try:
        if read_json(path).get("command") == said:
            logging.info("%s is there; remove it to measure anew.", path)
            return
    except (FileNotFoundError, ValueError):
        pass
    measured = path.with_name("benchmark.json")
    if subprocess.run([sys.executable, *command, f"--output_file={measured}"]).returncode:
        raise RunError(f"The benchmark did not end well, see above; {path} is as it was.")
    write_json(path, {**read_json(measured), "command": said})


if __name__ == "__main__":
    flags.DEFINE_enum("scale", "small", list(SCALES), "Length of the measurement.")
    define_text("runs", "runs/experiments", "Folder of all runs.")
    run_program(main)
