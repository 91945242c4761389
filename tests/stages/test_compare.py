"""Rows of Table 1: means, deviations and differences seed by seed."""

import statistics

import numpy as np
import pytest

import splitnet_tf as sn
from splitnet_tf.errors import ArgumentError
from splitnet_tf.grouping import Grouping
from splitnet_tf.grouping.space_groups import SpaceGroups
from splitnet_tf.runs import GroupResult, SplitResult
from splitnet_tf.stages.class_groups import describe_groups
from splitnet_tf.stages.compare import GroupingRun, compare_groupings
from tests.stages.conftest import SECTIONS, make_network

ERRORS = {"learned": (0.30, 0.50), "random": (0.31, 0.53)}


def run_one(grouping, seed):
    return GroupingRun(7, ERRORS[grouping][seed], 0.6, 0.2, None, None, (2, 3), 10, 8)


def test_rows_are_means_and_sample_deviations():
    found = compare_groupings(["learned", "random"], [0, 1], run_one)
    row = found.to_document()["rows"][0]
    assert row["grouping"] == "learned" and [r["error"] for r in row["runs"]] == [0.30, 0.50]
    assert row["error"] == statistics.mean((0.30, 0.50))
    assert row["error_spread"] == statistics.stdev((0.30, 0.50))
    assert row["nmi"] is None and row["nmi_spread"] is None
    assert found.to_document()["seeds"] == [0, 1]


def test_differences_from_random_groups_are_those_of_each_seed():
    learned, random = compare_groupings(ERRORS, [0, 1], run_one).to_document()["rows"]
    assert learned["better"] == pytest.approx(0.02)
    assert learned["better_spread"] == pytest.approx(statistics.stdev([0.01, 0.03]))
    assert (random["better"], random["better_spread"]) == (0, 0)
    (alone,) = compare_groupings(["learned"], [0], run_one).to_document()["rows"]
    assert "better" not in alone and alone["error_spread"] is None


def test_the_table_has_a_row_for_each_grouping():
    lines = str(compare_groupings(ERRORS, [0, 1], run_one)).splitlines()
    assert lines[0] == "seeds 0, 1; mean +- standard deviation"
    assert "test error (%)" in lines[2]
    assert lines[4].split() == [
        *("learned", "40.00", "+-", "14.14", "2.00", "+-", "1.41"),
        *("60.00", "+-", "0.00", "20.00", "+-", "0.00", "-", "2/3", "2/3"),
    ]
    assert len(lines) == 6


def test_every_grouping_is_checked_before_the_first_run():
    begun = []

    def check(grouping):
        if grouping == "nosuch":
            raise ArgumentError("`grouping`: there is no nosuch.")

    with pytest.raises(ArgumentError, match="no nosuch"):
        compare_groupings(["learned", "nosuch"], [0], lambda *run: begun.append(run), check=check)
    assert not begun


def test_a_run_is_made_of_the_results_of_its_stages():
    labels = np.array([0, 0, 1, 1, 1])
    space = SpaceGroups.from_labels("logits", labels, 2)
    grouping = Grouping("made", (("logits", 2),), "argmax", (space,), "logits")
    stages = {"before": 0.75, "cut": 0.25, "recalibrated": 0.5, "finetuned": 0.625}
    split = SplitResult(steps=9, test_accuracy=stages, params={"before": 20, "after": 12})
    known = describe_groups(grouping, superclasses=labels)
    found = GroupingRun.of(GroupResult(steps=4), split, known)
    assert (found.error, found.error_after_cut, found.error_before) == (0.375, 0.5, 0.25)
    assert (found.group_steps, found.steps, found.params) == (4, 9, 12)
    assert list(found.sizes) == [2, 3] and found.nmi == pytest.approx(1)
    del stages["recalibrated"]
    again = GroupingRun.of(GroupResult(steps=4), split, describe_groups(grouping))
    assert again.error_after_cut == 0.75 and again.nmi is None and again.random_nmi is None


def test_groupings_are_compared_in_python(arrays):
    """Learned and random groups of a user's own network, by the functions of this package."""
    train, valid, test = arrays
    names = [str(c) for c in range(8)]
    recipe = sn.GroupingRecipe(epochs=1, warmup_epochs=0, rate=0.05)

    def run_one(grouping, seed):
        grouped = sn.group_model(make_network(), SECTIONS)
        given = sn.given_classes(grouping, sn.plan_of(grouped), names, seed=seed)
        quick = {"loop": sn.Loop(max_steps=3), "seed": seed}
        learned = sn.learn_groups(
            grouped, train, valid, recipe, given=given, method="balanced", **quick
        )
        done = sn.split(
            grouped, learned.grouping, train, valid, test, recalibrate_batches=2, **quick
        )
        return GroupingRun.of(learned.result, done.result, sn.describe_groups(done.grouping))

    found = sn.compare_groupings(["learned", "random"], [3], run_one)
    assert list(found.runs) == ["learned", "random"]
    for (run,) in found.runs.values():
        assert (run.group_steps, run.steps) == (3, 3) and sum(run.sizes) == 8
        assert 0 <= run.error <= 1 and run.params < sn.cost(make_network()).params
