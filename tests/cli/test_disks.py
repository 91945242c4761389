"""A disk that is full, and a folder that cannot be written: one sentence, checkpoints intact."""

import shutil
import subprocess
import sys

import pytest

from splitnet_tf.runs.checkpoints import list_checkpoints, read_checkpoint
from tests.cli.forked import run
from tests.cli.small_programs import COMMON, GROUP, small_model
from tests.conftest import ROOT


def may_mount():
    probe = ["unshare", "-m", "sh", "-c", "mount -t tmpfs -o size=64k none /mnt"]
    return shutil.which("unshare") and subprocess.run(probe, capture_output=True).returncode == 0


@pytest.mark.slow
@pytest.mark.skipif(not may_mount(), reason="a small disk can only be mounted as root, on Linux")
@pytest.mark.parametrize("kib", [140])
def test_a_full_disk_is_one_sentence_and_the_run_goes_on_once_there_is_room(tmp_path, kib):
    small_model(tmp_path / "small.keras")
    disk, rescued = tmp_path / "disk", tmp_path / "rescued"
    disk.mkdir()
    arguments = [
        *COMMON,
        *GROUP,
        f"--model={tmp_path / 'small.keras'}",
        "--group_summary_interval=1",
    ]
    script = (
        f"mount -t tmpfs -o size={kib}k none {disk} || exit 99; "
        f'"$@" --train_dir={disk / "group"}; code=$?; cp -r {disk / "group"} {rescued}; exit $code'
    )
    done = subprocess.run(
        [
            *("unshare", "-m", "sh", "-c", script, "sh"),
            *(sys.executable, "-m", "splitnet_tf.cli.group", *arguments),
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1 and "Traceback" not in done.stderr, done.stderr[-3000:]
    # TensorFlow's writer of events may add lines of its own.
    (sentence,) = [x for x in done.stderr.splitlines() if x.startswith("group.py: error:")]
    assert "No space left" in sentence and str(disk) in sentence
    for path in list_checkpoints(rescued / "checkpoints", "step"):
        read_checkpoint(path)
    code, printed = run("group", [*arguments, f"--train_dir={rescued}"], tmp_path / "out")
    assert code == 0, printed[-2000:]


def test_what_was_found_is_printed_though_its_file_cannot_be_written(tmp_path):
    arguments = ["--model=mlp", "--splits=fc1:2", "--output_file=/proc/none/x.json"]
    code, printed = run("cost", arguments, tmp_path / "out")
    assert code == 1 and "params" in printed
    assert "/proc/none: No such file or directory; nothing is lost." in printed
