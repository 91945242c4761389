"""A report is written where TensorFlow cannot be imported, on Keras' backend in NumPy."""

import os
import subprocess
import sys

from tests.conftest import ROOT
from tests.report.folders import make_run
from tests.report.html_page import Page

PROGRAM = """
import sys


class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] == "tensorflow":
            raise ImportError("tensorflow is blocked")


sys.meta_path.insert(0, Blocked())
import splitnet_tf as sn

sn.write_report(sys.argv[1:2], sys.argv[2])
"""


def test_a_report_needs_no_tensorflow(tmp_path):
    make_run(tmp_path)
    page = tmp_path / "report.html"
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(tmp_path / "split"), str(page)],
        env={**os.environ, "KERAS_BACKEND": "numpy", "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    text = page.read_text()
    assert "planted-2-2, split 2-4 into 4 groups" in Page(text).text
    assert 'class="missing"' not in text
