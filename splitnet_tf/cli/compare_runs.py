"""Runs of a comparison: the group and split programs, one after the other, each in its folder."""

from __future__ import annotations

import copy
import dataclasses
import functools
import logging
import re
import shlex
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from absl import flags

from splitnet_tf.cli.data_flags import given_preprocessing
from splitnet_tf.cli.group import classes_given
from splitnet_tf.cli.grouping_flags import (
    check_budget_flags,
    check_grouping_flags,
    model_name,
    sections,
    sections_for,
)
from splitnet_tf.cli.program_flags import flags_of
from splitnet_tf.data import Dataset, load_dataset
from splitnet_tf.errors import RunError
from splitnet_tf.grouping import Grouping, SplitPlan
from splitnet_tf.runs import GroupResult, SplitResult
from splitnet_tf.runs.names import GROUPING, RESULT
from splitnet_tf.stages.class_groups import describe_groups
from splitnet_tf.stages.compare import GroupingRun
from splitnet_tf.stages.networks import choose_model
from splitnet_tf.stages.preprocessing import known_start, preprocessing_for
from splitnet_tf.storage.json_files import read_json, write_json

COMMANDS = "commands.json"
OF_FILE = r"--grouping=.*\.json$|--dataset=(?!(cifar100?|mnist|digits|planted.*)$)"
OF_DATA = ("data_dir", "image_size", "validation_share")
program_flags = functools.cache(flags_of)


def parse(program: str, arguments: Sequence[str]) -> flags.FlagValues:
    """Parses arguments of another program.

    Raises:
      flags.Error: the program would refuse them.
    """
    values = flags.FlagValues()
    for name, flag in program_flags(program).items():
        values[name] = copy.deepcopy(flag)
    values.set_gnu_getopt()
    values([program, *arguments])
    return values


@dataclasses.dataclass(frozen=True)
class Runs:
    """Runs in one folder.

    Attributes:
      folder: folder of all runs.
      dataset, data_dir, image_size, validation_share: flags of the data; all but the first may be
        None.
      features: flag of the group program for groups that are given.
      group, split: flags of the programs.
      plain: flags of the group program for the plain run that each grouping starts from; None
        where each starts from nothing.
    """

    folder: Path
    dataset: str
    data_dir: str | None
    features: str
    group: Sequence[str]
    split: Sequence[str]
    plain: Sequence[str] | None
    image_size: int | None = None
    validation_share: float | None = None

    def check(self, grouping: str, seed: int) -> None:
        """Raises what the programs would find wrong with a grouping or with their flags."""
        commands = self.commands(grouping, seed)
        values = parse("group", commands["group"])
        parse("split", commands["split"])
        if "plain" in commands and {n for _, n in sections(parse("group", commands["plain"]))} != {
            1
        }:
            raise flags.Error(
                "--plain_flags must train a plain network, of one group in each section: add "
                "--splits=1-1-1 to them, or --splits=<layer>:1 for a model from a file."
            )
        data = self._data(seed)
        model = choose_model(
            *(model_name(values), data.num_classes, data.input_shape),
            *(data.multi_label, data.classifiers),
        )
        check_budget_flags(values)
        plan = SplitPlan.from_sections(model, sections_for(data, values))
        check_grouping_flags(plan, values)
        # Where each grouping starts from a plain run, it is fed as that was.
        first = parse("group", commands.get("plain", commands["group"]))
        name, given = model_name(first), given_preprocessing(data, first)
        preprocessing_for(known_start(name, first.basemodel), given, data, name)
        classes_given(data, plan, values)

    def run(self, grouping: str, seed: int) -> GroupingRun:
        """Runs the programs for a grouping and a seed, unless they have run, and reads the end."""
        folder, commands = self._folder(grouping, seed), self.commands(grouping, seed)
        if "plain" in commands:
            run_programs(self._folder("plain", seed), {"group": commands["plain"]})
        run_programs(folder, commands)
        results = GroupResult.read(folder / "group"), SplitResult.read(folder / "split")
        groups, data = Grouping.load(folder / "split" / GROUPING), self._data(seed)
        return GroupingRun.of(*results, describe_groups(groups, data.superclasses, data.groups))

    def commands(self, grouping: str, seed: int) -> dict[str, list[str]]:
        """Returns the flags of each program of a run; ``plain`` is the group program's."""
        folder, plain = self._folder(grouping, seed), self._folder("plain", seed) / "group"
        data = [f"--dataset={self.dataset}", f"--seed={seed}"]
        data += [f"--{name}={value}" for name, value in self._how().items() if value is not None]
        given = [f"--grouping={grouping}"]
        given += [f"--features={self.features}"] if grouping != "learned" else []
        given += [f"--basemodel={plain}"] if self.plain is not None else []
        base = f"--basemodel={folder / 'group'}"
        found = {
            "group": [*data, *given, *self.group, f"--train_dir={folder / 'group'}"],
            "split": [*data, *self.split, base, f"--train_dir={folder / 'split'}"],
        }
        if self.plain is None:
            return found
        return {"plain": [*data, *self.plain, f"--train_dir={plain}"], **found}

    def _data(self, seed: int) -> Dataset:
        return _load(self.dataset, seed=seed, **self._how())

    def _how(self) -> dict[str, str | int | float | None]:
        return {name: getattr(self, name) for name in OF_DATA}

    def _folder(self, grouping: str, seed: int) -> Path:
        return self.folder / f"{Path(grouping).stem}-seed{seed}"


_load = functools.lru_cache(1)(load_dataset)  # planted data is made from the seed of its run


def run_programs(folder: Path, commands: dict[str, list[str]]) -> None:
    """Runs programs one after the other, unless the folder holds just this already.

    Args:
      folder: folder of the run.
      commands: program -> its flags; ``plain`` is part of what the folder is made of, not run.

    Raises:
      RunError: a program failed; its own error stands above.
    """
    if is_done(folder, commands):
        return
    for program in [name for name in commands if name != "plain"]:
        logging.info("%s: %s", folder, program)
        command = [sys.executable, "-m", f"splitnet_tf.cli.{program}", *commands[program]]
        if _exit_code(subprocess.Popen(command, stdout=sys.stderr)):
            raise RunError(
                f"The run in {folder} did not end well (see above): {shlex.join(command)}. Run the "
                "same comparison again to go on."
            )
    write_json(folder / COMMANDS, commands)


def is_done(folder: Path, commands: dict[str, list[str]]) -> bool:
    """Returns True when just these programs have run in a folder, see ``run_programs``."""
    try:
        read_json(folder / list(commands)[-1] / RESULT)
        same = read_json(folder / COMMANDS) == commands
    except (FileNotFoundError, ValueError):
        return False
    # A file of groups or of data may have changed: its run is asked.
    return same and not any(re.match(OF_FILE, argument) for argument in commands["group"])


def _exit_code(process: subprocess.Popen) -> int:
    """Waits for a program; when this one is stopped, until the other has saved."""

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
