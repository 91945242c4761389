"""Learned groups against given ones on the same budget and seeds (the paper's Table 1)."""

from __future__ import annotations

import dataclasses
import statistics
from collections.abc import Callable, Sequence
from typing import Any

from splitnet_tf.analysis import text_table
from splitnet_tf.runs import GroupResult, SplitResult
from splitnet_tf.stages.class_groups import ClassGroups

RANDOM = "random"  # the groups that all others are compared with
MEANS = ("error", "error_after_cut", "error_before", "nmi")
HEADER = ("classes", "test error (%)", "below random by", "after the cut", "before", "NMI", "sizes")


@dataclasses.dataclass(frozen=True)
class GroupingRun:
    """Result of one grouping with one seed.

    Attributes:
      error: float from 0 to 1, test error after finetuning.
      error_after_cut: the same after the cut, before finetuning.
      error_before: the same before the cut.
      nmi: agreement of the groups with what is known of the classes; None where nothing is.
      random_nmi: the same of random groups of the same sizes; None where that is not known.
      sizes: ints, classes in each group.
      params: int, parameters of the tree.
      steps, group_steps: ints, training steps of the finetuning and of the grouping.
    """

    group_steps: int
    error: float
    error_after_cut: float
    error_before: float
    nmi: float | None
    random_nmi: float | None
    sizes: Sequence[int]
    params: int
    steps: int

    @classmethod
    def of(cls, grouped: GroupResult, split: SplitResult, groups: ClassGroups) -> GroupingRun:
        """Gathers the numbers of a run from the results of its grouping and of its split."""
        stages = split.test_accuracy
        return cls(
            group_steps=grouped.steps,
            error=1 - stages["finetuned"],
            error_after_cut=1 - stages.get("recalibrated", stages["cut"]),
            error_before=1 - stages["before"],
            nmi=groups.nmi,
            random_nmi=groups.superclasses.random_nmi if groups.superclasses else None,
            sizes=groups.sizes,
            params=split.params["after"],
            steps=split.steps,
        )


@dataclasses.dataclass(frozen=True)
class Mean:
    """Mean of a number over seeds. Prints as ``mean +- spread``.

    Attributes:
      mean: float; None where no run has the number.
      spread: standard deviation of the sample; None for fewer than two runs.
    """

    mean: float | None
    spread: float | None

    @classmethod
    def of(cls, values: Sequence[float | None]) -> Mean:
        """Averages the numbers that are not None."""
        found = [v for v in values if v is not None]
        return cls(
            statistics.fmean(found) if found else None,
            statistics.stdev(found) if len(found) > 1 else None,
        )

    def percent(self) -> str:
        """Formats the mean and the spread in percent; a dash where there is none."""
        if self.mean is None:
            return "-"
        tail = f" +- {100 * self.spread:.2f}" if self.spread is not None else ""
        return f"{100 * self.mean:.2f}{tail}"


@dataclasses.dataclass(frozen=True)
class GroupingComparison:
    """Runs of several groupings with the same seeds. Prints as a table.

    Attributes:
      seeds: ints, seed of each run of a grouping.
      runs: grouping -> its runs, one a seed.
    """

    seeds: tuple[int, ...]
    runs: dict[str, tuple[GroupingRun, ...]]

    def mean(self, grouping: str, name: str) -> Mean:
        """Averages an attribute of ``GroupingRun`` over a grouping's runs."""
        return Mean.of([getattr(run, name) for run in self.runs[grouping]])

    def below_random(self, grouping: str) -> Mean:
        """Averages by how much a grouping's error is below that of random groups, seed by seed.

        Runs with one seed start alike, so the spread of the differences is smaller than that of
        the errors.
        """
        pairs = zip(self.runs[grouping], self.runs.get(RANDOM, ()), strict=False)
        return Mean.of([random.error - run.error for run, random in pairs])

    def to_document(self) -> dict[str, Any]:
        """Seeds and rows for a JSON document."""
        return {"seeds": list(self.seeds), "rows": [self._row(name) for name in self.runs]}

    def _row(self, grouping: str) -> dict[str, Any]:
        runs = [dataclasses.asdict(run) for run in self.runs[grouping]]
        row: dict[str, Any] = {"grouping": grouping, "runs": runs}
        means = {name: self.mean(grouping, name) for name in MEANS}
        if RANDOM in self.runs:
            means["better"] = self.below_random(grouping)
        for name, found in means.items():
            row |= {name: found.mean, f"{name}_spread": found.spread}
        return row

    def __str__(self) -> str:
        rows = []
        for name, runs in self.runs.items():
            nmi = self.mean(name, "nmi").mean
            rows.append(
                (
                    name,
                    self.mean(name, "error").percent(),
                    self.below_random(name).percent(),
                    self.mean(name, "error_after_cut").percent(),
                    self.mean(name, "error_before").percent(),
                    f"{nmi:.3f}" if nmi is not None else "-",
                    " ".join("/".join(map(str, run.sizes)) for run in runs),
                )
            )
        seeds = ", ".join(map(str, self.seeds))
        return f"seeds {seeds}; mean +- standard deviation\n\n{text_table(HEADER, rows)}"


def compare_groupings(
    groupings: Sequence[str],
    seeds: Sequence[int],
    run_one: Callable[[str, int], GroupingRun],
    *,
    check: Callable[[str], None] | None = None,
) -> GroupingComparison:
    """Trains and cuts a network with each of several groupings and seeds.

    Args:
      groupings: names of the groupings, such as ``learned``, ``semantic``, ``random``.
      seeds: ints, each grouping is run once with each.
      run_one: function of a grouping and a seed that learns the groups, cuts, finetunes and
        returns ``GroupingRun.of(learned.result, split.result, describe_groups(split.grouping))``.
      check: function of a grouping that raises when it cannot be run; it is called for all
        groupings before the first run. Defaults to no check.

    >>> def run_one(grouping, seed):  # a real one calls learn_groups and split
    ...     error = {"learned": 0.25, "random": 0.375}[grouping] + seed / 8
    ...     return sn.GroupingRun(10, error, 0.5, 0.25, 0.75, None, [2, 2], 60, 20)
    >>> found = sn.compare_groupings(["learned", "random"], [0, 1], run_one)
    >>> found.mean("learned", "error").mean, found.below_random("learned").mean
    (0.3125, 0.125)
    """
    for name in groupings if check else ():
        check(name)
    runs = {name: tuple(run_one(name, seed) for seed in seeds) for name in groupings}
    return GroupingComparison(tuple(seeds), runs)
