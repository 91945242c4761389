"""Sections of the report on one run, ready for the template."""

from __future__ import annotations

import dataclasses
import platform
from importlib import metadata

from splitnet_tf.analysis.class_tree import ClassNode
from splitnet_tf.analysis.figures import draw_blocks
from splitnet_tf.analysis.placement import Placement, make_placement
from splitnet_tf.errors import SplitNetError
from splitnet_tf.report.before_after import Pair, counted_by, measure
from splitnet_tf.report.classes import (
    Agreed,
    Superclasses,
    agree,
    named_classes,
    superclasses_of,
    tree_of,
)
from splitnet_tf.report.commands import placed_command
from splitnet_tf.report.confusions import Confused, confusions_of
from splitnet_tf.report.curves import group_sizes, largest_p, read_curve, spread_out
from splitnet_tf.report.drawings import (
    CMAP,
    draw_agreement,
    draw_assignment,
    draw_group_sizes,
)
from splitnet_tf.report.models import Counted, Models, count
from splitnet_tf.report.pictures import Picture, picture
from splitnet_tf.report.run_page import RunPage, page_values
from splitnet_tf.report.runs import Run
from splitnet_tf.report.wording import summary
from splitnet_tf.runs.names import GROUPING, METRICS

LOSSES = {"group_weight": "R_W", "disjointness": "R_D", "balance": "R_E"}
MOST_SPACES = 12  # spaces whose group sizes are drawn
MOST_DEVICES = 8
PACKAGES = ("splitnet-tf", "tensorflow", "keras", "numpy", "scikit-learn", "matplotlib", "Jinja2")


@dataclasses.dataclass(frozen=True)
class SplitPage(RunPage):
    """Everything that the template needs of one run; ``leaves`` has the classes of each leaf."""

    counted: Counted
    tree: ClassNode | None
    leaves: dict[str, tuple[tuple[str | None, tuple[str, ...]], ...]]
    superclasses: Superclasses | None
    agreed: Agreed | None
    agreement: Picture | None
    blocks: Picture | None
    blocks_problem: str
    assignment: tuple[Picture, ...]
    assignment_problems: tuple[str, ...]
    confused: Confused
    placements: tuple[tuple[Placement, str], ...]


def split_page(run: Run) -> SplitPage:
    """Reads, counts and draws everything on one run."""
    models = Models(run)
    counted = count(run, models)
    params, flops = (_counts(run, counted, name) for name in ("params", "flops"))
    measured = measure(run, params, flops, counted.problems)
    grouping, superclasses = run.grouping, superclasses_of(run)
    agreed = agree(grouping, superclasses) if grouping and superclasses else None
    tree = tree_of(grouping) if grouping else None
    leaves = tree.leaves() if tree else ()
    blocks, blocks_problem = _blocks(run, models)
    pictures, problems = _assignment(run)
    return SplitPage(
        **page_values(run, summary(run, measured, counted.predicted), measured),
        counted=counted,
        tree=tree,
        leaves={n.name: named_classes(grouping, n.classes, superclasses) for n in leaves},
        superclasses=superclasses,
        agreed=agreed,
        agreement=_agreement(run, agreed) if agreed else None,
        blocks=blocks,
        blocks_problem=blocks_problem,
        assignment=pictures,
        assignment_problems=problems,
        confused=confusions_of(run, superclasses),
        placements=_placements(run, models),
    )


def _counts(run: Run, counted: Counted, name: str) -> Pair:
    """Costs as counted, or else as the split's result has them."""
    known = zip((counted.before, counted.after), counted_by(run.split, name), strict=True)
    return tuple(getattr(cost, name) if cost else value for cost, value in known)


def _agreement(run: Run, agreed: Agreed) -> Picture:
    groups = [str(g) for g in range(agreed.learned.shape[1])]
    return picture(
        f"agreement{run.number}",
        "Classes of each superclass in each group: as learned, and in one random grouping of the "
        "same sizes.",
        lambda: draw_agreement(agreed.learned, agreed.random, agreed.names, groups),
    )


def _blocks(run: Run, models: Models) -> tuple[Picture | None, str]:
    if run.grouping is None:
        return None, run.problem(GROUPING)
    try:
        drawn = picture(
            f"blocks{run.number}",
            "Weight magnitude of split kernels before the cut: as trained, and sorted by group.",
            lambda: draw_blocks(models.whole, run.grouping, cmap=CMAP),
        )
    except SplitNetError as error:
        return None, str(error)
    return drawn, ""


def _assignment(run: Run) -> tuple[tuple[Picture, ...], tuple[str, ...]]:
    """Draws the curves of the grouping; returns them with sentences on what is missing."""
    if run.group is None:
        return (), ("The folder of the grouping, which has its log, is not there.",)
    entries = run.group.metrics
    problems = [run.group.problems[f] for f in (METRICS,) if f in run.group.problems]
    decided = largest_p(entries)
    terms = (read_curve(entries, f"split/{key}", name) for key, name in LOSSES.items())
    losses = [curve for curve in terms if curve]
    energy = read_curve(entries, "split/off_block_energy", "energy off the blocks")
    if not decided and not losses:
        if entries:
            problems.append(f"{run.group.path / METRICS} is of a run that groups nothing.")
        return (), tuple(problems)
    kept = spread_out(decided, MOST_SPACES)
    pictures = [
        picture(
            f"assignment{run.number}",
            "The assignments over training: 1 is one-hot.",
            lambda: draw_assignment(kept, losses, energy),
        )
    ]
    sizes = group_sizes(entries)
    shown = {name: sizes[name] for name in spread_out(list(sizes), MOST_SPACES)}
    if shown:
        of = "each space" if len(shown) == len(sizes) else f"{len(shown)} of {len(sizes)} spaces"
        pictures.append(
            picture(
                f"sizes{run.number}",
                f"Channels in each group of {of} over training; the last are the classes.",
                lambda: draw_group_sizes(shown),
            )
        )
    return tuple(pictures), tuple(problems)


def _placements(run: Run, models: Models) -> tuple[tuple[Placement, str], ...]:
    """Places the tree on as many devices as it has branches, with a command for each plan."""
    try:
        tree = models.tree
        counts = {len(tree.branches), len(tree.leaves())}
        devices = sorted({min(c, MOST_DEVICES) for c in counts if c > 1})
        return tuple(
            (make_placement(tree, [f"device {i}" for i in range(n)], trunk), command)
            for n in devices
            for trunk, command in (("replicate", ""), ("shard", placed_command(run, n)))
        )
    except SplitNetError:  # said where the costs are
        return ()


def versions() -> dict[str, str]:
    """Returns the versions of Python and of the packages that make the report."""
    found = {"Python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            found[package] = "from source"
    return found
