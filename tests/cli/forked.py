"""Runs many programs in one go: imports them once, then forks a child for each.

Most of a program's start is the import of TensorFlow; a hundred checks of flags need it once.
"""

import json
import os
import runpy
import subprocess
import sys
import tempfile

from tests.conftest import ROOT


def run_programs(commands, cwd):
    """Runs [(program, arguments)]; returns [(exit code, stderr)].

    A program is the name of a module of ``splitnet_tf.cli``, ``experiments.<module>``, or of a
    file at the top level.
    """
    done = subprocess.run(
        [sys.executable, "-m", "tests.cli.forked", str(cwd)],
        input=json.dumps([[p, list(map(str, a))] for p, a in commands]),
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return [tuple(row) for row in json.loads(done.stdout.splitlines()[-1])]


def _run(program, arguments, cwd):
    """One program in a child of its own."""
    with tempfile.TemporaryFile("w+") as err:
        child = os.fork()
        if child == 0:
            os.dup2(err.fileno(), 2)
            os.dup2(err.fileno(), 1)
            os.chdir(cwd)
            code = 0
            try:
                if program.endswith(".py"):
                    sys.argv = [str(ROOT / program), *arguments]
                    runpy.run_path(str(ROOT / program), run_name="__main__")
                elif program.startswith("experiments."):
                    sys.path.insert(0, str(ROOT))
                    sys.argv = [program, *arguments]
                    runpy.run_module(program, run_name="__main__")
                else:
                    sys.argv = [program, *arguments]
                    __import__(f"splitnet_tf.cli.{program}", fromlist=["cli"]).cli()
            except SystemExit as end:
                code = end.code or 0
            except BaseException as error:
                print(f"Traceback: {error!r}", file=sys.stderr)
                code = 70
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)
        _, status = os.waitpid(child, 0)
        err.seek(0)
        return os.waitstatus_to_exitcode(status), err.read()


def main():
    import splitnet_tf.cli.benchmark
    import splitnet_tf.cli.cost
    import splitnet_tf.cli.evaluate
    import splitnet_tf.cli.export
    import splitnet_tf.cli.group
    import splitnet_tf.cli.report
    import splitnet_tf.cli.split  # noqa: F401

    cwd = sys.argv[1]
    print(json.dumps([_run(p, a, cwd) for p, a in json.load(sys.stdin)]))


if __name__ == "__main__":
    main()
