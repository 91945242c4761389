"""Compare: learned against given groupings, on the same budget and seeds (the paper's Table 1)."""

from __future__ import annotations

import shlex
from pathlib import Path

from absl import flags

from splitnet_tf.cli.compare_runs import OF_DATA, Runs, program_flags
from splitnet_tf.cli.data_flags import define_dataset_flags
from splitnet_tf.cli.define import Number, define_list, define_text
from splitnet_tf.cli.output import define_output_flags, show
from splitnet_tf.cli.program import run_program
from splitnet_tf.stages.compare import compare_groupings
from splitnet_tf.storage.json_files import write_json

FLAGS = flags.FLAGS
OWN = (
    *("train_dir", "restart", "grouping", "features", "seed", "basemodel", "dataset", "data_dir"),
    *("image_size", "validation_share", "flagfile"),
)


def define_flags() -> None:
    for program in ("group", "split"):
        program_flags(program)  # before flags of the same names are defined here
    define_text(
        "train_dir", None, "Folder of all runs. The same command again continues.", required=True
    )
    define_list(
        "groupings",
        ["learned", "semantic", "clustering", "random"],
        "Groups of the classes to compare; see --grouping of splitnet-group.",
    )
    flags.DEFINE_enum(
        "features",
        "learned",
        ["learned", "even"],
        "Groups of the features when the classes are given: learned around the classes, or "
        "split evenly.",
    )
    define_list(
        "seeds",
        ["0", "1", "2"],
        "Random seeds; every grouping is trained once with each.",
        Number(int, 0, 2**31 - 1),
    )
    define_dataset_flags()
    define_budget_flags()
    define_output_flags()


def define_budget_flags() -> None:
    """Flags of the other programs, quoted."""
    define_text(
        "plain_flags",
        None,
        "Quoted flags of splitnet-group for one plain run (--splits=1-1-1) with each seed; "
        "every grouping then starts from its weights. Defaults to a start from random "
        "weights.",
    )
    define_text(
        "group_flags",
        None,
        "Quoted flags of splitnet-group for every grouping: the budget of each run.",
    )
    define_text("split_flags", None, "Quoted flags of splitnet-split for every finetuning.")


def main() -> None:
    check_names()
    seeds = [int(seed) for seed in FLAGS.seeds]
    runs = Runs(
        folder=Path(FLAGS.train_dir),
        dataset=FLAGS.dataset,
        **{name: FLAGS[name].value for name in OF_DATA},
        features=FLAGS.features,
        group=own_flags(FLAGS.group_flags, "group_flags"),
        split=own_flags(FLAGS.split_flags, "split_flags"),
        plain=own_flags(FLAGS.plain_flags, "plain_flags") if FLAGS.plain_flags else None,
    )
    found = compare_groupings(
        FLAGS.groupings, seeds, runs.run, check=lambda grouping: runs.check(grouping, seeds[0])
    )
    names = ("dataset", "features", "plain_flags", "group_flags", "split_flags")
    document = {**{name: FLAGS[name].value for name in names}, **found.to_document()}
    write_json(runs.folder / "comparison.json", document)
    show(f"{FLAGS.dataset}, {found}", document)


def check_names() -> None:
    """Raises flags.Error for groupings and seeds that come twice, or share a folder."""
    for name in ("groupings", "seeds"):
        values = getattr(FLAGS, name)
        if not values or len(set(values)) != len(values):
            raise flags.Error(f"--{name} must name one or more, each once; got {values}.")
    stems = [Path(name).stem for name in FLAGS.groupings]
    if len(set(stems)) != len(stems) or "plain" in stems:
        raise flags.Error(
            f"--groupings: two have the same name, or one is 'plain'; got {FLAGS.groupings}."
        )


def own_flags(text: str | None, name: str) -> list[str]:
    """Splits a quoted text into flags.

    Raises:
      flags.Error: one that this program gives itself.
    """
    try:
        found = shlex.split(text or "")
    except ValueError as error:
        raise flags.Error(f"--{name}: {error}; quote it as a shell would.") from None
    for flag in found:
        if flag.lstrip("-").partition("=")[0] in OWN:
            raise flags.Error(f"--{name}: {flag} is given by this program; leave it out.")
    return found


def cli() -> None:
    """Runs ``splitnet-compare``."""
    define_flags()
    run_program(main)


if __name__ == "__main__":
    cli()
