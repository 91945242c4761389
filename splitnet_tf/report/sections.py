"""What the report says of one run, section by section, ready for the template."""

from __future__ import annotations

import dataclasses
import platform
from importlib import metadata

import numpy as np

from splitnet_tf.analysis.figures import draw_blocks
from splitnet_tf.errors import SplitNetError
from splitnet_tf.parallel.placement import Placement, make_placement
from splitnet_tf.report.before_after import Measured, evaluations, measure
from splitnet_tf.report.classes import (
    Agreed,
    Branch,
    Superclasses,
    agree,
    class_tree,
    labels_by_level,
    superclasses_of,
)
from splitnet_tf.report.commands import evaluation_command, placed_command, training_command
from splitnet_tf.report.confusions import (
    Shares,
    class_order,
    coarse_picture,
    confusion_shares,
    most_frequent,
    read_confusion,
)
from splitnet_tf.report.curves import Curve, group_sizes, largest_p, read_curve, spread_out
from splitnet_tf.report.drawings import (
    CMAP,
    draw_accuracy,
    draw_agreement,
    draw_assignment,
    draw_confusion,
    draw_group_sizes,
)
from splitnet_tf.report.models import Counted, Models, count, saved_with
from splitnet_tf.report.pictures import Picture, picture
from splitnet_tf.report.run_folder import SPLIT, RunFolder, number
from splitnet_tf.report.runs import Run

LOSSES = {"group_weight": "R_W", "disjointness": "R_D", "balance": "R_E"}
MOST_SPACES = 12  # whose group sizes are drawn
MOST_DEVICES = 8
PACKAGES = ("splitnet-tf", "tensorflow", "keras", "numpy", "scikit-learn", "matplotlib", "Jinja2")


@dataclasses.dataclass(frozen=True)
class Confused:
    """Confusions of the run's newest model.

    Attributes:
      shares: at each level of the tree.
      frequent: (true class, answer, times, whether of one group).
      picture: sorted by group.
      problem: why there is nothing, or "".
    """

    shares: tuple[Shares, ...] = ()
    frequent: tuple[tuple[str, str, int, bool], ...] = ()
    picture: Picture | None = None
    problem: str = ""


@dataclasses.dataclass(frozen=True)
class RunPage:
    """All that the template needs of one run."""

    run: Run
    title: str
    state: tuple[str, ...]
    damaged: tuple[str, ...]
    measured: Measured
    counted: Counted
    tree: Branch | None
    superclasses: Superclasses | None
    agreed: Agreed | None
    agreement: Picture | None
    blocks: Picture | None
    blocks_problem: str
    assignment: tuple[Picture, ...]
    assignment_problems: tuple[str, ...]
    accuracy: Picture | None
    speed: tuple[tuple[str, float], ...]
    confused: Confused
    placements: tuple[tuple[Placement, str], ...]
    commands: tuple[str, ...]
    saved_with: tuple[str, ...]
    evaluation: str


def run_page(run: Run) -> RunPage:
    """Reads, counts and draws all of one run."""
    models = Models(run)
    counted = count(run, models)
    grouping, superclasses = run.grouping, superclasses_of(run)
    agreed = agree(grouping, superclasses) if grouping and superclasses else None
    blocks, blocks_problem = _blocks(run, models)
    pictures, problems = _assignment(run)
    return RunPage(
        run=run,
        title=_title(run),
        state=_state(run),
        damaged=_damaged(run),
        measured=measure(run, counted),
        counted=counted,
        tree=class_tree(grouping, counted.nodes, superclasses) if grouping else None,
        superclasses=superclasses,
        agreed=agreed,
        agreement=_agreement(run, agreed) if agreed else None,
        blocks=blocks,
        blocks_problem=blocks_problem,
        assignment=pictures,
        assignment_problems=problems,
        accuracy=_accuracy(run),
        speed=_speed(run),
        confused=_confused(run, superclasses),
        placements=_placements(run, models),
        commands=tuple(training_command(folder) for folder in run.folders[::-1]),
        saved_with=tuple(saved_with(folder) for folder in run.folders[::-1]),
        evaluation=evaluation_command(run),
    )


def summary(page: RunPage) -> str:
    """The run in one sentence."""
    measured, grouping = page.measured, page.run.grouping
    text = page.title
    if page.run.plain:
        text += ", nothing split"
    elif grouping:
        splits = "-".join(str(groups) for _, groups in grouping.sections)
        text += f", split {splits} into {_sizes([len(m) for m in grouping.classes.members])}"
    if measured.before is not None:
        text += f": {100 * measured.before:.1f}% test accuracy"
        text += "" if page.run.plain else " before the cut"
        if measured.after is not None:
            text += f", {100 * measured.after:.1f}% after it"
    if measured.fewer_params is not None and measured.fewer_flops is not None:
        text += (
            f"; {100 * measured.fewer_params:.1f}% fewer parameters and "
            f"{100 * measured.fewer_flops:.1f}% fewer FLOPs"
        )
        text += " (predicted: it is not cut yet)" if page.counted.predicted else ""
    return f"{text}."


def _sizes(sizes: list[int]) -> str:
    """Sizes of the class groups in words."""
    if len(sizes) == 1:
        return f"one group of {sizes[0]} classes"
    if len(sizes) > 8:
        return f"{len(sizes)} groups of {min(sizes)} to {max(sizes)} classes"
    listed = ", ".join(str(s) for s in sizes[:-1])
    return f"{len(sizes)} groups of {listed} and {sizes[-1]} classes"


def _title(run: Run) -> str:
    """Model, data and groups in a few words."""
    model = run.setting("model") or (run.grouping.model if run.grouping else "unknown model")
    data = run.setting("dataset") or "unknown data"
    return f"{model} on {data}"


def _state(run: Run) -> tuple[str, ...]:
    """How far each phase has come."""
    sentences = []
    for folder in run.folders[::-1]:
        name = "Training" if run.plain else {"group": "Grouping", "split": "Split"}[folder.kind]
        steps, epochs = (number(folder.result, key) for key in ("steps", "epochs"))
        if steps is not None:
            length = f" ({epochs:.3g} epochs)" if epochs is not None else ""
            why = folder.result.get("stopped")
            why = f", stopped by {why}" if isinstance(why, str) else ""
            sentences.append(f"{name} ({folder.path}): finished at step {steps:,.0f}{length}{why}.")
        else:
            last = max((e["step"] for e in folder.metrics), default=None)
            so_far = f"the log ends at step {last:,}" if last is not None else "nothing is logged"
            sentences.append(f"{name} ({folder.path}): not finished, {so_far}.")
    return tuple(sentences)


def _damaged(run: Run) -> tuple[str, ...]:
    """What is wrong with files that are there."""
    return tuple(
        sentence
        for folder in run.folders
        for name, sentence in folder.problems.items()
        if (folder.path / name).exists() and "is empty" not in sentence
    )


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
        return None, run.problem("grouping.json")
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
    """Curves of the grouping, and what is missing of them."""
    if run.group is None:
        return (), ("The folder of the grouping, which has its log, is not there.",)
    entries = run.group.metrics
    problems = [run.group.problems[f] for f in ("metrics.jsonl",) if f in run.group.problems]
    decided = largest_p(entries)
    terms = (read_curve(entries, f"split/{key}", name) for key, name in LOSSES.items())
    losses = [curve for curve in terms if curve]
    energy = read_curve(entries, "split/off_block_energy", "energy off the blocks")
    if not decided and not losses:
        if entries:
            problems.append(f"{run.group.path / 'metrics.jsonl'} is of a run that groups nothing.")
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


def _accuracy(run: Run) -> Picture | None:
    panels = []
    for folder in run.folders[::-1]:
        curves: list[Curve | None] = [
            read_curve(folder.metrics, "train/accuracy", "training"),
            read_curve(folder.metrics, "valid/accuracy", "validation"),
        ]
        title = _phase(run, folder)
        found = [curve for curve in curves if curve]
        if found:
            panels.append((title, found))
    if not panels:
        return None
    return picture(
        f"accuracy{run.number}", "Accuracy over training.", lambda: draw_accuracy(panels)
    )


def _phase(run: Run, folder: RunFolder) -> str:
    if folder.kind == SPLIT:
        return "finetuning"
    return "training" if run.plain else "grouping"


def _speed(run: Run) -> tuple[tuple[str, float], ...]:
    """Median images per second while training, by phase."""
    found = []
    for folder in run.folders[::-1]:
        curve = read_curve(folder.timing, "images_per_second")
        if curve:
            found.append((_phase(run, folder), float(np.median(curve.values))))
    return tuple(found)


def _confused(run: Run, superclasses: Superclasses | None) -> Confused:
    grouping = run.grouping
    if grouping is None:
        return Confused(problem=run.problem("grouping.json"))
    before, after = evaluations(run)
    found = []
    for title, entry in (("before the cut", before), ("after the cut", after)):
        matrix = read_confusion(entry.get("confusion")) if "confusion" in entry else None
        if matrix is not None and len(matrix) == grouping.classes.size:
            found.append((title, matrix))
        elif "confusion" in entry:
            size = grouping.classes.size
            return Confused(
                problem=f"The confusions in evaluation.json are no {size} by {size} counts, one "
                "for each pair of the grouping's classes; evaluate again."
            )
    if not found:
        problem = run.problem("evaluation.json")
        return Confused(problem=problem or "evaluation.json has no confusions; evaluate again.")
    labels = labels_by_level(grouping)
    order = class_order(labels[-1], superclasses.labels if superclasses else None)
    newest = found[-1][1]
    names = grouping.class_names or [str(i) for i in range(len(newest))]
    bounds = np.flatnonzero(np.diff(labels[-1][order])) + 1
    drawn = picture(
        f"confusion{run.number}",
        "Answers for each class; classes sorted by group, lines between groups.",
        lambda: draw_confusion(
            [(title, coarse_picture(matrix, order)) for title, matrix in found],
            (bounds / len(order)).tolist() if len(bounds) <= 64 else [],
        ),
    )
    shares = (confusion_shares(newest, of_level) for of_level in labels)
    return Confused(
        tuple(s for s in shares if s),
        tuple(
            (names[i], names[j], times, bool(labels[-1][i] == labels[-1][j]))
            for i, j, times in most_frequent(newest)
        ),
        drawn,
    )


def _placements(run: Run, models: Models) -> tuple[tuple[Placement, str], ...]:
    """The tree on as many devices as it has branches, with a command for each plan."""
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
    """Of what makes the report."""
    found = {"Python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            found[package] = "from source"
    return found
