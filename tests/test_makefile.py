"""``make venv`` where Python cannot make one."""

import os
import shutil
import subprocess
import sys

import pytest

from tests.conftest import ROOT


@pytest.mark.skipif(shutil.which("make") is None, reason="needs make")
def test_a_python_without_venv_is_told_what_to_install(tmp_path):
    """As on Debian: Python is there, ensurepip is not."""
    (tmp_path / "ensurepip.py").write_text("raise ModuleNotFoundError('ensurepip')")
    venv = tmp_path / "venv"
    done = subprocess.run(
        ["make", "venv", f"VENV={venv}", f"PYTHON={sys.executable}"],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(tmp_path), "LC_ALL": "C"},
        capture_output=True,
        text=True,
    )
    assert done.returncode != 0
    sentence = "cannot make a virtual environment: install python3-venv (apt install python3-venv)."
    assert done.stderr.splitlines()[0] == f"{sys.executable} {sentence}"
    assert not venv.exists()


@pytest.mark.skipif(shutil.which("make") is None, reason="needs make")
def test_the_python_that_makes_the_environment_is_not_that_of_the_scripts(tmp_path):
    shutil.copy(ROOT / "Makefile", tmp_path)
    (tmp_path / ".venv").mkdir()
    for name in ("setup.py", ".venv/.ready"):
        (tmp_path / name).touch()
    for name in ("group.sh", "split.sh", "eval.sh"):
        (tmp_path / name).write_text('#!/bin/sh\necho "${PYTHON-of .venv}"; exit 1\n')
        (tmp_path / name).chmod(0o755)
    for given in (["PYTHON=python3"], []):
        # Not as a part of the make that may run the tests.
        env = {k: v for k, v in os.environ.items() if not k.startswith("MAKE")}
        done = subprocess.run(
            ["make", "demo", *given],
            cwd=tmp_path,
            env={**env, "PYTHON": "python3"},
            capture_output=True,
            text=True,
        )
        assert done.stdout.splitlines()[-1] == "of .venv", done.stderr
