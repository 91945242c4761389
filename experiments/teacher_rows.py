"""Rows on what a teacher, a loss on the groups and the groups themselves are worth to a tree.

All rows go on from one trained network. Trees are cut after 1.5 epochs of grouping and finetuned;
narrowed networks, of the tree's parameters, are trained for as many epochs in all.
"""

from __future__ import annotations

import dataclasses
import logging
from pathlib import Path

import keras
import numpy as np

from experiments.machine import describe_machine
from experiments.network import build, slim
from experiments.recipe import Recipe, recipe_document, sections
from splitnet_tf.analysis import cost
from splitnet_tf.analysis.agreement import agreement
from splitnet_tf.data import Dataset, superclass_taxonomy
from splitnet_tf.data.feeds import Feed, SplitFeed
from splitnet_tf.grouping import group_model, plan_of, split_losses, start_from_clusters
from splitnet_tf.grouping.recipe import GroupingRecipe
from splitnet_tf.grouping.start import class_assignment
from splitnet_tf.recipe import Phase
from splitnet_tf.recipe.preprocessing import WHITEN
from splitnet_tf.runs.json_lines import read_lines
from splitnet_tf.runs.names import PLAIN, TIMING
from splitnet_tf.runs.results import GroupResult
from splitnet_tf.stages.finetune import finetune
from splitnet_tf.stages.given import GivenClasses, given_classes
from splitnet_tf.stages.learn_groups import learn_groups
from splitnet_tf.stages.loop import Loop
from splitnet_tf.stages.split import split
from splitnet_tf.stages.teaching import Teaching
from splitnet_tf.storage.json_files import read_json, write_json
from splitnet_tf.storage.models import load_model

LOOP = Loop(bfloat16=True, display=50)
RECIPE = Recipe(
    *(10, 2, Phase(30, 0.1), GroupingRecipe(1.5, 0.02, 0.02, warmup_epochs=0.0)),
    *(Phase(5, 0.05), Phase(6.5, 0.05)),
)
WORST = "worst"
TAUGHT, GROUPS = Teaching(bfloat16=True), Teaching(group_weight=0.5)
BOTH = dataclasses.replace(TAUGHT, group_weight=0.5)


@dataclasses.dataclass(frozen=True)
class TaughtRow:
    """One row, without its seed.

    Attributes:
      name: of the row.
      network: ``tree``, ``narrowed`` or ``whole``; ``teacher`` is the whole network as given.
      teaching: teacher and loss on the groups.
      taught: bool, whether the whole network teaches.
      grouping: name of the groups of the classes, see ``given_classes``; or ``worst``: every
        superclass torn apart.
    """

    name: str
    network: str = "tree"
    teaching: Teaching = Teaching()
    taught: bool = False
    grouping: str = "learned"


ROWS = (
    TaughtRow("whole", "teacher"),
    TaughtRow("tree"),
    TaughtRow("tree-teacher", teaching=TAUGHT, taught=True),
    TaughtRow("tree-groups", teaching=GROUPS),
    TaughtRow("tree-teacher-groups", teaching=BOTH, taught=True),
    TaughtRow("narrowed", "narrowed"),
    TaughtRow("narrowed-teacher", "narrowed", TAUGHT, True),
    TaughtRow("tree-semantic", grouping="semantic"),
    TaughtRow("tree-random", grouping="random"),
    TaughtRow("tree-worst", grouping=WORST),
    TaughtRow("whole-longer", "whole"),
)
BY_NAME = {row.name: row for row in ROWS}


@dataclasses.dataclass(frozen=True)
class Job:
    """A row, its recipe and data, the run folder of the whole network, and that of all runs."""

    row: TaughtRow
    recipe: Recipe
    seed: int
    data: Dataset
    whole: Path
    runs: Path

    def feeds(self, phase: str) -> tuple[Feed, Feed, Feed]:
        """Training, validation and test images; each phase has an order of its own."""
        order = int(np.random.SeedSequence([self.seed, *phase.encode()]).generate_state(1)[0] >> 1)
        batch = self.recipe.batch_size
        parts = (self.data.train, self.data.valid, self.data.test)
        train, *rest = (SplitFeed(part, batch, order, preprocessing=WHITEN) for part in parts)
        return train, *rest

    def folder(self, name: str) -> Path:
        """Run folder of a phase."""
        return self.runs / f"{name}-seed{self.seed}"

    def taught(self) -> dict:
        """Arguments of ``finetune`` and ``split`` for the row's teacher and loss."""
        teacher = load_model(self.whole / PLAIN) if self.row.taught else None
        return {"teacher": teacher, "teaching": self.row.teaching}

    def trained(self, name: str, model: keras.Model, phase: Phase, **taught) -> GroupResult:
        """Trains a network, or goes on with it; each name has a run folder of its own."""
        train, valid, test = self.feeds("baseline" if taught else "plain")
        run, more = self.folder(name), {"test": test, "loop": LOOP, "preprocessing": WHITEN}
        return finetune(model, train, valid, phase, run=run, **more, **taught).result


def run_row(
    row: TaughtRow, seed: int, data: Dataset, whole: Path, runs: Path, recipe: Recipe = RECIPE
) -> dict:
    """Trains what a row needs, or goes on with it, and returns its document.

    Args:
      row: the row.
      seed: int, seed of weights, orders and random groups.
      data: data set to train on.
      whole: run folder of the whole network's training, a plain run of ``group``.
      runs: folder of all runs.
      recipe: how all is trained.
    """
    path = runs / f"row-{row.name}-seed{seed}.json"
    try:
        return read_json(path)
    except (FileNotFoundError, ValueError):
        pass
    logging.info("%s, seed %d", row.name, seed)
    keras.utils.set_random_seed(seed)
    job = Job(row, recipe, seed, data, whole, runs)
    found = {"teacher": _teacher, "tree": _tree}.get(row.network, _network)(job)
    settings = {"recipe": recipe_document(recipe), "teaching": dataclasses.asdict(row.teaching)}
    own = {"row": row.name, "seed": seed, "taught": row.taught, "grouping": row.grouping}
    document = {**own, **settings, "data": data.name, "data_digest": data.digest(), **found}
    write_json(path, document | describe_machine())
    return read_json(path)


def _teacher(job: Job) -> dict:
    """Errors and sizes of the whole network as it was trained."""
    found, model = GroupResult.read(job.whole), load_model(job.whole / PLAIN)
    return _errors(found) | _sizes(model) | _time(job, found.epochs, job.whole)


def _network(job: Job) -> dict:
    """Errors and sizes of a whole network, narrowed or not, trained as long as the trees."""
    row, epochs, folders = job.row, job.recipe.plain.epochs, [job.whole]
    model = load_model(job.whole / PLAIN)
    if row.network == "narrowed":
        model = build(slim(job.recipe, job.data), job.data)
        job.trained("narrowed-plain", model, job.recipe.plain)
        folders = [job.folder("narrowed-plain")]
    found = job.trained(row.name, model, job.recipe.baseline, **job.taught())
    epochs += found.epochs
    return _errors(found) | _sizes(model) | _time(job, epochs, *folders, job.folder(row.name))


def _tree(job: Job) -> dict:
    """Errors and sizes of the tree at its stages, and what became of the groups."""
    row, data = job.row, job.data
    grouped = group_model(load_model(job.whole / PLAIN), sections("deep"), seed=job.seed)
    plan, given = plan_of(grouped), given_groups(row.grouping, plan_of(grouped), data, job.seed)
    start_from_clusters(grouped, class_labels=given and given.labels, seed=job.seed)
    start, losses = _labels(grouped), split_losses(grouped)
    weight_at_start = float(losses.terms()["group_weight"])
    group, run = f"group-{row.grouping}", job.folder(row.name)
    train, valid, test = job.feeds("group")
    learned = learn_groups(
        *(grouped, train, valid, job.recipe.group),
        **{"run": job.folder(group), "loop": LOOP, "given": given, "seed": job.seed},
        **{"class_names": data.class_names, "preprocessing": WHITEN},
    )
    moved = {name: start[name] != labels for name, labels in _labels(grouped).items()}
    classes = moved.pop(class_assignment(losses, plan).space)
    features = np.concatenate(list(moved.values()))
    weight = float(losses.terms()["group_weight"])
    train = job.feeds("finetune")[0]
    found = split(
        *(grouped, learned.grouping, train, valid, test, job.recipe.finetune),
        **{"run": run, "loop": LOOP, "preprocessing": WHITEN, **job.taught()},
    )
    labels = learned.grouping.classes.labels()
    errors = {name: 1 - accuracy for name, accuracy in found.result.test_accuracy.items()}
    epochs = job.recipe.plain.epochs + learned.result.epochs + found.result.epochs
    return {
        **{"error": errors["finetuned"], "valid_error": 1 - found.result.valid_accuracy},
        **{"error_before": errors["before"], "error_after_cut": errors["recalibrated"]},
        **_sizes(found.tree.model),
        **_time(job, epochs, job.whole, job.folder(group), run),
        "moved": {"classes": float(classes.mean()), "features": float(features.mean())},
        "group_weight": [weight_at_start, weight],
        "off_block_energy": learned.result.off_block_energy,
        "nmi": agreement(labels, data.superclasses).nmi,
    }


def given_groups(name: str, plan, data: Dataset, seed: int) -> GivenClasses | None:
    """Groups of the classes of a row."""
    if name != WORST:
        taxonomy = superclass_taxonomy(data)
        return given_classes(name, plan, data.class_names, taxonomy=taxonomy, seed=seed)
    order = np.argsort(data.superclasses, kind="stable")
    labels = np.empty(len(order), int)
    labels[order] = np.arange(len(order)) % plan.groups[-1]  # neighbours part
    return GivenClasses(name, labels)


def _labels(grouped: keras.Model) -> dict[str, np.ndarray]:
    """Group of each member of each space."""
    assignments = split_losses(grouped).assignments()
    return {a.space: keras.ops.convert_to_numpy(a.p()).argmax(axis=0) for a in assignments}


def _errors(found: GroupResult) -> dict:
    return {"error": 1 - found.test_accuracy, "valid_error": 1 - found.valid_accuracy}


def _sizes(model: keras.Model) -> dict:
    found = cost(model)
    return {"params": found.params, "flops": found.flops}


def _time(job: Job, epochs: float, *folders: Path) -> dict:
    """Epochs in all, and the minutes of their training steps."""
    seconds = 0.0
    for folder in folders:
        done = 0
        for _, line in read_lines((folder / TIMING).read_bytes()):
            seconds += (line["step"] - done) * job.recipe.batch_size / line["images_per_second"]
            done = line["step"]
    return {"epochs": epochs, "minutes": seconds / 60}
