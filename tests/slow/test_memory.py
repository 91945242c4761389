"""Memory does not grow while a grouping trains. By name: -m slow."""

import json
import time
from pathlib import Path

import pytest

from tests.cli.forked import start
from tests.cli.small_programs import GROUP, small_model

MORE = ["--dataset=planted", "--batch_size=32", "--display=100", "--val_interval=100"]
MORE += ["--checkpoint_interval=100", "--max_steps=2200", "--group_summary_interval=1"]
MORE += ["--converged_hold=1000"]  # the groups are found long before


def resident_bytes(process):
    for line in Path(f"/proc/{process.pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return 1024 * int(line.split()[1])
    return 0


def steps_shown(folder):
    try:
        lines = (folder / "timing.jsonl").read_text().splitlines()
        return json.loads(lines[-1])["step"]
    except (OSError, IndexError, ValueError):
        return 0


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads Linux' /proc")
def test_memory_does_not_grow_over_two_thousand_steps(tmp_path):
    small_model(tmp_path / "small.keras")
    folder = tmp_path / "group"
    arguments = [*GROUP, *MORE, f"--model={tmp_path / 'small.keras'}", f"--train_dir={folder}"]
    process = start("group", arguments, tmp_path / "out")
    sizes = {}
    while process.is_alive() and 2000 not in sizes:
        sizes.setdefault(steps_shown(folder), resident_bytes(process))
        time.sleep(0.02)
    process.join()
    assert process.exitcode == 0, (tmp_path / "out").read_text()[-2000:]
    growth = sizes[2000] / sizes[200] - 1
    shown = {step: size >> 20 for step, size in sizes.items() if step}
    print(f"resident at step 200: {shown[200]} MiB, at 2,000: {shown[2000]} MiB ({growth:+.1%})")
    assert growth < 0.03, shown
