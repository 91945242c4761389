"""Programs in processes of their own that begin with TensorFlow imported.

Most of a program's start is the import of TensorFlow. A server imports it once for all tests of a
process, and forks a child for each program: no program finds what another has left in memory.
"""

import multiprocessing
import os
import runpy
import sys
import tempfile
from pathlib import Path

# Not from conftest, which sets up devices that a program would find.
ROOT = Path(__file__).resolve().parents[2]
SERVER = multiprocessing.get_context("forkserver")
PROGRAMS = (
    *("benchmark", "compare", "cost", "divide", "evaluate", "export", "group", "report"),
    *("search", "shrink", "sparsify", "split", "worker"),
)
SERVER.set_forkserver_preload([f"splitnet_tf.cli.{p}" for p in PROGRAMS])


def begin(function, arguments, output, errors=None, cwd="."):
    """Calls a function in a child, which appends what it prints to a file, or to two."""
    streams = (str(output), str(errors or output))
    process = SERVER.Process(target=_redirected, args=(function, arguments, streams, str(cwd)))
    process.start()
    return process


def start(program, arguments, output, errors=None, cwd="."):
    """A program as its user starts it, in a child.

    Args:
      program: a module of ``splitnet_tf.cli``, ``experiments.<module>``, or a file at the top
        level such as ``download_cifar100.py``.
      arguments: of its command line.
      output, errors: files that what it prints is appended to; both to ``output`` by default.
      cwd: where it is started.
    """
    return begin(_program, (program, *map(str, arguments)), output, errors, cwd)


def call(function, arguments, output, cwd="."):
    """Calls a function in a child; (exit code, what it printed)."""
    output.write_text("")
    process = begin(function, arguments, output, cwd=cwd)
    process.join()
    return process.exitcode, output.read_text()


def run(program, arguments, output, cwd="."):
    """Runs a program to its end; (exit code, what it printed)."""
    return call(_program, (program, *map(str, arguments)), output, cwd)


def run_programs(commands, cwd):
    """Runs [(program, arguments)], one after the other; [(exit code, what it printed)]."""
    with tempfile.TemporaryDirectory() as folder:
        output = Path(folder, "output")
        return [run(program, arguments, output, cwd) for program, arguments in commands]


def _redirected(function, arguments, streams, cwd):
    for stream, path in enumerate(streams, 1):
        with open(path, "a") as file:
            os.dup2(file.fileno(), stream)
    os.chdir(cwd)
    function(*arguments)


def _program(program, *arguments):
    sys.argv = [program, *arguments]
    # For a program that starts itself anew.
    sys.orig_argv = [sys.executable, "-m", f"splitnet_tf.cli.{program}", *arguments]
    os.environ["PYTHONPATH"] = str(ROOT)
    if program.endswith(".py"):
        sys.argv[0] = str(ROOT / program)
        runpy.run_path(sys.argv[0], run_name="__main__")
    elif "." in program:
        runpy.run_module(program, run_name="__main__")
    else:
        __import__(f"splitnet_tf.cli.{program}", fromlist=["cli"]).cli()
