"""Start of a program: the notes that TensorFlow writes while it is imported are held back.

They go to the standard error before any logger is set up, whatever ``TF_CPP_MIN_LOG_LEVEL`` says.
A level below 3 in the environment shows them. A process that only uses the package in Python is
left alone.
"""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

PROGRAMS = "splitnet_tf.cli."


def is_program() -> bool:
    """True in a process that was started as one of the programs of this package."""
    by_module = any(word.startswith(PROGRAMS) for word in sys.orig_argv[1:4])
    return by_module or Path(sys.argv[0]).name.startswith("splitnet-")


@contextlib.contextmanager
def quiet_import() -> Iterator[None]:
    """While inside, in a program, what is written to the standard error is kept for an error."""
    if not is_program() or os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3") != "3":
        yield
        return
    try:
        terminal = os.dup(2)
    except OSError:  # closed
        yield
        return
    with tempfile.TemporaryFile() as held:
        os.dup2(held.fileno(), 2)
        try:
            yield
        except BaseException:
            os.dup2(terminal, 2)
            held.seek(0)
            os.write(2, held.read())
            raise
        finally:
            os.dup2(terminal, 2)
            os.close(terminal)
