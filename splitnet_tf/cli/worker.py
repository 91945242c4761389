"""Worker: runs its part of a tree for a program started with --cluster."""

from __future__ import annotations

from absl import flags

from splitnet_tf.cli.define import Number, define_integer, define_list, define_text
from splitnet_tf.cli.program import run_program
from splitnet_tf.parallel import start_worker

FLAGS = flags.FLAGS


def define_flags() -> None:
    define_integer("port", None, "Port to listen on.", 1, 65_535, required=True)
    define_text(
        "interface",
        "lo",
        "Network interface to accept connections through: lo for this machine only, the name "
        "of another one, or any. The protocol is neither encrypted nor authenticated: use "
        "private networks only.",
    )
    define_list(
        "cores",
        [],
        "Processor cores to run on, such as 0,1. Defaults to all.",
        Number(int, 0, 65_535),
    )
    define_integer("threads", 0, "Threads for operations; 0 for one a core.", 0, 4096)


def main() -> None:
    cores = [int(c) for c in FLAGS.cores]
    server = start_worker(FLAGS.port, FLAGS.interface, cores, FLAGS.threads or len(cores))
    print(f"Worker ready on port {FLAGS.port}, interface {FLAGS.interface}.", flush=True)
    server.join()


def cli() -> None:
    """Runs ``splitnet-worker``."""
    define_flags()
    run_program(main)


if __name__ == "__main__":
    cli()
