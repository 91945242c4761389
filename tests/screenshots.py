"""Pictures of a run as a browser shows it: TensorBoard's pages, and the report.

    python -m tests.screenshots runs/pictures docs

takes ``docs/tensorboard_*.png`` and ``docs/report*.png`` with a headless Chromium, and draws
``docs/gamma3.png``. The folder holds ``group``, ``split`` and ``report.html``, and runs with
several gamma_3 in ``gamma3-*``; ``make pictures`` makes them first.
"""

import shutil
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

from splitnet_tf.parallel.network import free_port
from splitnet_tf.report.drawings import draw_gamma3
from splitnet_tf.report.overview import gamma3_sizes
from splitnet_tf.report.runs import read_runs

PAGES = {
    "scalars": "#scalars&tagFilter=split%2F|largest_p|off_block",
    "images": "#images",
    "text": "#text",
    "hparams": "#hparams",
}


def browser():
    for name in ("chromium", "chromium-browser", "google-chrome"):
        if shutil.which(name):
            return name
    sys.exit("screenshots: error: there is no chromium on the PATH; install one.")


def shoot(url, path, size, wait, *more):
    subprocess.run(
        [
            *(browser(), "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars"),
            *(f"--window-size={size}", f"--virtual-time-budget={wait}", *more),
            *(f"--screenshot={path}", url),
        ],
        check=True,
        capture_output=True,
        timeout=300,
    )
    print(f"{path}: {Path(path).stat().st_size >> 10} KiB")


def tensorboard(runs, port):
    process = subprocess.Popen(
        [
            *(
                sys.executable,
                "-m",
                "tensorboard.main",
                "--logdir=group/tensorboard",
                f"--port={port}",
            ),
            *("--host=127.0.0.1", "--load_fast=false", "--samples_per_plugin=images=100"),
        ],
        cwd=runs,  # the page shows the path
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    for _ in range(120):
        try:
            tags = urllib.request.urlopen(f"http://127.0.0.1:{port}/data/plugins_listing").read()
            if b"images" in tags:
                time.sleep(10)  # until the events are read
                return process
        except OSError:
            pass
        time.sleep(1)
    process.kill()
    sys.exit("screenshots: error: TensorBoard did not start.")


def main(runs, docs):
    runs, docs = Path(runs).resolve(), Path(docs)
    report = runs / "report.html"
    if report.is_file():
        shoot(report.as_uri(), docs / "report.png", "1200,2600", 4000)
        shoot(report.as_uri(), docs / "report_dark.png", "1200,1300", 4000, "--force-dark-mode")
    sizes = gamma3_sizes(read_runs(sorted(runs.glob("gamma3-*"))))
    draw_gamma3([s.gamma3 for s in sizes], [s.classes for s in sizes]).savefig(
        docs / "gamma3.png", dpi=110
    )
    port = free_port()
    process = tensorboard(runs, port)
    try:
        for name, page in PAGES.items():
            url = f"http://127.0.0.1:{port}/{page}"
            shoot(url, docs / f"tensorboard_{name}.png", "1400,1100", 30000)
    finally:
        process.terminate()
        process.wait()


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    main(*sys.argv[1:])
