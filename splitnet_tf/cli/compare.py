"""Compare: learned against given groupings, on the same budget and seeds (the paper's Table 1)."""

from __future__ import annotations

import functools
import logging
import shlex
import signal
import statistics
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from absl import flags

from splitnet_tf.analysis import text_table
from splitnet_tf.cli.define import Number, define_list, define_text
from splitnet_tf.cli.output import define_output_flags, show
from splitnet_tf.cli.program import run_program
from splitnet_tf.data import Dataset, load_dataset
from splitnet_tf.errors import RunError
from splitnet_tf.grouping import Grouping
from splitnet_tf.models.short_forms import parse_splits
from splitnet_tf.stages.class_groups import describe_groups
from splitnet_tf.storage.json_files import read_json, write_json

FLAGS = flags.FLAGS
OWN = (
    *("train_dir", "restart", "grouping", "features", "seed", "basemodel", "dataset", "data_dir"),
    "flagfile",
)


def define_flags() -> None:
    define_text("train_dir", None, "Folder of all runs; run again to go on.", required=True)
    define_list(
        "groupings",
        ["learned", "semantic", "clustering", "random"],
        "Groups of the classes to compare; see --grouping of the group program.",
    )
    flags.DEFINE_enum(
        "features", "learned", ["learned", "even"], "Features around given classes; as there."
    )
    define_list(
        "seeds", ["0", "1", "2"], "Each grouping once with each.", Number(int, 0, 2**31 - 1)
    )
    define_text("dataset", "cifar100", "As the other programs.")
    define_text("data_dir", None, "As the other programs.")
    define_text(
        "plain_flags",
        None,
        "Flags of the group program, quoted, for one plain run (--splits=1-1-1) with each seed; "
        "every grouping then starts from its weights. Default: each starts from nothing.",
    )
    define_text("group_flags", None, "Flags of the group program, quoted: the budget of each run.")
    define_text("split_flags", None, "Flags of the split program, quoted.")
    define_output_flags()


def own_flags(text: str | None, name: str) -> list[str]:
    """The flags in a quoted text.

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


def data_flags(seed: str) -> list[str]:
    """Flags that all programs share."""
    found = [f"--dataset={FLAGS.dataset}", f"--seed={seed}"]
    return found + ([f"--data_dir={FLAGS.data_dir}"] if FLAGS.data_dir else [])


def plain_folder(seed: str) -> Path:
    """Of the plain run from which the groupings with this seed start."""
    return Path(FLAGS.train_dir) / f"plain-seed{seed}"


def plain_arguments(seed: str) -> list[str]:
    """The flags of the group program for a plain run."""
    own = own_flags(FLAGS.plain_flags, "plain_flags")
    return [*data_flags(seed), *own, f"--train_dir={plain_folder(seed) / 'group'}"]


def check_plain(arguments: Sequence[str]) -> None:
    """Raises flags.Error when flags make the group program train a grouping, no plain network."""
    found = flags.FlagValues()
    for name in ("model", "splits"):
        flags.DEFINE_string(name, None, "", flag_values=found)
    for name in ("ngroups3", "ngroups2", "ngroups1"):
        flags.DEFINE_integer(name, 2, "", flag_values=found)
    found.set_gnu_getopt()
    found(["group", *arguments], known_only=True)
    counts = [found[f"ngroups{n}"].value for n in (3, 2, 1)]
    if found.splits is not None:
        sections = parse_splits(found.splits, found.model or "wrn-16-8")
        counts = [count for _, count in sections]
    if set(counts) != {1}:
        raise flags.Error(
            "--plain_flags must train a plain network, of one group in each section: add "
            "--splits=1-1-1 to them, or --splits=<layer>:1 for a model from a file."
        )


def commands(folder: Path, grouping: str, seed: str) -> dict[str, list[str]]:
    """The two programs of one run and their flags."""
    data = data_flags(seed)
    given = [f"--grouping={grouping}"]
    given += [f"--features={FLAGS.features}"] if grouping != "learned" else []
    given += [f"--basemodel={plain_folder(seed) / 'group'}"] if FLAGS.plain_flags else []
    return {
        "group": [
            *(*data, *given, *own_flags(FLAGS.group_flags, "group_flags")),
            f"--train_dir={folder / 'group'}",
        ],
        "split": [
            *(*data, *own_flags(FLAGS.split_flags, "split_flags")),
            *(f"--basemodel={folder / 'group'}", f"--train_dir={folder / 'split'}"),
        ],
    }


def run(folder: Path, wanted: dict[str, list[str]], start: Sequence[str] = ()) -> None:
    """Runs programs one after the other, if the folder does not hold just this already.

    Args:
      folder: of the run.
      wanted: the programs and their flags.
      start: flags of the plain run that it starts from, if any.

    Raises:
      RunError: a program failed; what it said stands above.
    """
    done = folder / "commands.json"
    document = {"plain": list(start), **wanted} if start else wanted
    try:
        read_json(folder / list(wanted)[-1] / "result.json")
        # A file of groups or of data may have changed: its run is asked.
        if read_json(done) == document and not any(_of_file(a) for a in wanted["group"]):
            return
    except (FileNotFoundError, ValueError):
        pass
    for program, arguments in wanted.items():
        logging.info("%s: %s", folder, program)
        command = [sys.executable, "-m", f"splitnet_tf.cli.{program}", *arguments]
        if finished(subprocess.Popen(command, stdout=sys.stderr)):
            raise RunError(
                f"The run in {folder} did not end well (see above): {shlex.join(command)}. Run the "
                "same comparison again to go on."
            )
    write_json(done, document)


def _of_file(argument: str) -> bool:
    flag, _, value = argument.partition("=")
    return (flag, Path(value).suffix) in (("--grouping", ".json"), ("--dataset", ".npz"))


def finished(process: subprocess.Popen) -> int:
    """The exit code of a program; when this one is stopped, once that has saved."""

    def stop(number, frame):
        raise SystemExit(128 + number)

    earlier = signal.signal(signal.SIGTERM, stop)
    try:
        return process.wait()
    except BaseException:
        process.terminate()
        process.wait()
        raise
    finally:
        signal.signal(signal.SIGTERM, earlier)


def read_run(folder: Path, dataset) -> dict:
    """What a finished run found."""
    try:
        result = read_json(folder / "split" / "result.json")
        grouped = read_json(folder / "group" / "result.json")
    except (FileNotFoundError, ValueError) as error:
        raise RunError(f"The results in {folder} cannot be read: {error}.") from None
    grouping = Grouping.load(folder / "split" / "grouping.json")
    groups = describe_groups(grouping, dataset.superclasses, dataset.groups)
    stages = result["test_accuracy"]
    return {
        "group_steps": grouped["steps"],
        "error": 1 - stages["finetuned"],
        "error_after_cut": 1 - stages.get("recalibrated", stages["cut"]),
        "error_before": 1 - stages["before"],
        "nmi": groups.nmi,
        "random_nmi": groups.superclasses.random_nmi if groups.superclasses else None,
        "sizes": groups.sizes,
        "params": result["params"]["after"],
        "steps": result["steps"],
    }


@functools.cache
def data_of(seed: str) -> Dataset:
    """The data of a run: planted data is of its seed."""
    return load_dataset(FLAGS.dataset, FLAGS.data_dir, int(seed))


def summarize(name: str, runs: Sequence[dict]) -> dict:
    """Means and spreads (standard deviations of the sample) over seeds."""
    row = {"grouping": name, "runs": list(runs)}
    for key in ("error", "error_after_cut", "error_before", "nmi"):
        values = [r[key] for r in runs if r[key] is not None]
        row[key] = statistics.fmean(values) if values else None
        row[f"{key}_spread"] = statistics.stdev(values) if len(values) > 1 else None
    return row


def add_differences(rows: Sequence[dict]) -> None:
    """Adds to each row by how much its error is below that of random groups, seed by seed.

    Runs with one seed start alike, so the spread of the differences is smaller than that of the
    errors.
    """
    random = next((row["runs"] for row in rows if row["grouping"] == "random"), None)
    for row in rows if random else ():
        values = [b["error"] - a["error"] for a, b in zip(row["runs"], random, strict=True)]
        row["better"] = statistics.fmean(values)
        row["better_spread"] = statistics.stdev(values) if len(values) > 1 else None


def main() -> None:
    for name in ("groupings", "seeds"):
        values = getattr(FLAGS, name)
        if not values or len(set(values)) != len(values):
            raise flags.Error(f"--{name} must name one or more, each once; got {values}.")
    stems = [Path(name).stem for name in FLAGS.groupings]
    if len(set(stems)) != len(stems) or "plain" in stems:
        raise flags.Error(
            f"--groupings: two have the same name, or one is 'plain'; got {FLAGS.groupings}."
        )
    plain = {}
    if FLAGS.plain_flags:
        check_plain(own_flags(FLAGS.plain_flags, "plain_flags"))
        plain = {seed: plain_arguments(seed) for seed in FLAGS.seeds}
    for seed, arguments in plain.items():
        run(plain_folder(seed), {"group": arguments})
    rows = []
    for name in FLAGS.groupings:
        folders = [Path(FLAGS.train_dir) / f"{Path(name).stem}-seed{seed}" for seed in FLAGS.seeds]
        for folder, seed in zip(folders, FLAGS.seeds, strict=True):
            run(folder, commands(folder, name, seed), plain.get(seed, ()))
        found = [read_run(f, data_of(s)) for f, s in zip(folders, FLAGS.seeds, strict=True)]
        rows.append(summarize(name, found))
    add_differences(rows)
    document = {
        "dataset": FLAGS.dataset,
        "seeds": [int(s) for s in FLAGS.seeds],
        "features": FLAGS.features,
        "plain_flags": FLAGS.plain_flags,
        "group_flags": FLAGS.group_flags,
        "split_flags": FLAGS.split_flags,
        "rows": rows,
    }
    write_json(Path(FLAGS.train_dir) / "comparison.json", document)
    show(as_text(document), document)


def as_text(document: dict) -> str:
    """The rows of Table 1."""

    def percent(row, key):
        if row.get(key) is None:  # no random groups to compare with
            return "-"
        spread = row[f"{key}_spread"]
        tail = f" +- {100 * spread:.2f}" if spread is not None else ""
        return f"{100 * row[key]:.2f}{tail}"

    keys = ("error", "better", "error_after_cut", "error_before")
    header = (
        "classes",
        "test error (%)",
        "below random by",
        "after the cut",
        "before",
        "NMI",
        "sizes",
    )
    rows = [
        (
            row["grouping"],
            *(percent(row, key) for key in keys),
            f"{row['nmi']:.3f}" if row["nmi"] is not None else "-",
            " ".join("/".join(map(str, r["sizes"])) for r in row["runs"]),
        )
        for row in document["rows"]
    ]
    seeds = ", ".join(map(str, document["seeds"]))
    title = f"{document['dataset']}, seeds {seeds}; mean +- standard deviation"
    return f"{title}\n\n{text_table(header, rows)}"


def cli() -> None:
    """Entry point of ``splitnet-compare``."""
    define_flags()
    run_program(main)


if __name__ == "__main__":
    cli()
