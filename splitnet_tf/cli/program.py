"""Running of a program: one sentence for an error, and the exit codes."""

from __future__ import annotations

import logging
import os
import sys
import warnings
from collections.abc import Callable

from absl import app, flags
from absl import logging as absl_logging

from splitnet_tf.cli.argument_flags import FlagFormatter, with_flags
from splitnet_tf.errors import ArgumentError, SplitNetError

MOST = 1000  # characters of an error, which may repeat what it was given


def run_program(main: Callable[..., None], takes_arguments: bool = False) -> None:
    """Runs a program: exit code 0, 2 for wrong usage, 1 for other errors, each one sentence.

    Args:
      main: the program.
      takes_arguments: bool, ``main`` takes a list of the words that are not flags. Defaults to
        False: they are refused.
    """

    def parse(argv):
        flags.FLAGS.set_gnu_getopt(takes_arguments)  # flags may come after arguments
        try:
            rest = flags.FLAGS(argv)
        except flags.Error as error:
            _fail(f"{error} Run with --help for the flags.", 2)
        if len(rest) > 1 and not takes_arguments:
            _fail(f"Unexpected argument '{rest[1]}'; all settings are flags, see --help.", 2)
        return rest

    def guarded(argv):
        _set_up_logging()
        try:
            main(argv[1:]) if takes_arguments else main()
        except (ArgumentError, flags.Error) as error:
            _fail(str(error), 2)
        except SplitNetError as error:
            _fail(str(error), 1)
        except OSError as error:
            file = error.filename2 or error.filename or "A file"
            _fail(f"{file}: {error.strerror or error}; nothing is lost.", 1)
        except _out_of_memory() as error:
            reason = (str(error).strip().splitlines() or ["none is left"])[0]
            _fail(f"Out of memory ({reason[:160]}); lower --batch_size or take a smaller model.", 1)
        except KeyboardInterrupt:
            _fail("Interrupted.", 130)

    app.run(guarded, flags_parser=parse)


def _set_up_logging() -> None:
    """Our lines only: warnings of retracing and of Python code are for those who write it."""
    logging.getLogger().setLevel(logging.INFO)
    for package in ("absl", "tensorflow", "jax"):  # absl's logger is that of other packages
        logging.getLogger(package).setLevel(logging.ERROR)
    warnings.simplefilter("ignore")
    absl_logging.get_absl_handler().setFormatter(FlagFormatter("%(message)s"))


def _out_of_memory() -> tuple[type[Exception], ...]:
    """Errors that mean a lack of memory; TensorFlow's too where it is in use."""
    tf = sys.modules.get("tensorflow")
    return (MemoryError, tf.errors.ResourceExhaustedError) if tf else (MemoryError,)


def say(sentence: str) -> None:
    """Prints an error."""
    sys.stdout.flush()
    name, sentence = os.path.basename(sys.argv[0]), " ".join(with_flags(sentence).split())
    if len(sentence) > MOST:
        sentence = f"{sentence[: MOST // 2]} ... {sentence[-MOST // 2 :]}"
    print(f"{name}: error: {sentence}", file=sys.stderr, flush=True)


def _fail(sentence: str, code: int) -> None:
    say(sentence)
    sys.exit(code)
