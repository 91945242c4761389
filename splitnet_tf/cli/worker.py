"""Worker: runs its part of a tree for a program started with --cluster."""

from __future__ import annotations

from absl import flags

from splitnet_tf.cli.program import run_program
from splitnet_tf.parallel import start_worker

FLAGS = flags.FLAGS


def define_flags() -> None:
    flags.DEFINE_integer(
        "port", None, "To listen on.", required=True, lower_bound=1, upper_bound=65535
    )
    flags.DEFINE_string(
        "interface",
        "lo",
        "Network interface to be reached through: lo for this machine alone, another's name, or "
        "any. The protocol is neither encrypted nor authenticated: private networks only.",
    )
    flags.DEFINE_list("cores", [], "The only processor cores to run on, such as 0,1.")
    flags.DEFINE_integer("threads", 0, "For operations; 0: one a core.", lower_bound=0)


def main() -> None:
    try:
        cores = [int(c) for c in FLAGS.cores]
    except ValueError:
        raise flags.Error(f"--cores must be such as 0,1; got {','.join(FLAGS.cores)}.") from None
    server = start_worker(FLAGS.port, FLAGS.interface, cores, FLAGS.threads or len(cores))
    print(f"Worker ready on port {FLAGS.port}, interface {FLAGS.interface}.", flush=True)
    server.join()


def cli() -> None:
    """Entry point of ``splitnet-worker``."""
    define_flags()
    run_program(main)


if __name__ == "__main__":
    cli()
