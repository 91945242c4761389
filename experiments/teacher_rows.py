"""Rows on what a teacher, a loss on the groups and the groups themselves are worth to a tree.

All rows go on from one trained network. Trees are cut after a short grouping and finetuned;
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
from splitnet_tf.data import Dataset, superclass_taxonomy
from splitnet_tf.data.feeds import Feed, SplitFeed
from splitnet_tf.grouping import group_model, plan_of, split_losses, start_from_clusters
from splitnet_tf.grouping.recipe import GroupingRecipe
from splitnet_tf.recipe import Phase
from splitnet_tf.recipe.preprocessing import WHITEN
from splitnet_tf.runs.json_lines import read_lines
from splitnet_tf.runs.names import PLAIN, TIMING
from splitnet_tf.runs.results import GroupResult
from splitnet_tf.stages.finetune import finetune
from splitnet_tf.stages.given import GivenClasses, given_classes
from splitnet_tf.stages.learn_groups import LearnedGroups, learn_groups
from splitnet_tf.stages.loop import Loop
from splitnet_tf.stages.split import split
from splitnet_tf.stages.teaching import Teaching
from splitnet_tf.storage.json_files import read_json, write_json
from splitnet_tf.storage.models import load_model

MORE = {"loop": Loop(bfloat16=True, display=50), "preprocessing": WHITEN}
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
      start: start of the assignments.
      gates: bool, whether the kernels have gates while the groups are learned.
    """

    name: str
    network: str = "tree"
    teaching: Teaching = Teaching()
    taught: bool = False
    grouping: str = "learned"
    start: str = "clustering"
    gates: bool = False


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
    TaughtRow("tree-exchange", start="exchange"),
    TaughtRow("tree-gates", gates=True),
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

    def feeds(self, phase: str) -> list[Feed]:
        """Training, validation and test images; each phase has an order of its own."""
        order = int(np.random.SeedSequence([self.seed, *phase.encode()]).generate_state(1)[0] >> 1)
        parts = (self.data.train, self.data.valid, self.data.test)
        return [SplitFeed(p, self.recipe.batch_size, order, preprocessing=WHITEN) for p in parts]

    def folder(self, name: str) -> Path:
        """Run folder of a phase."""
        return self.runs / f"{name}-seed{self.seed}"

    def taught(self) -> dict:
        """Arguments of ``finetune`` and ``split`` for the row's teacher and loss."""
        teacher = load_model(self.whole / PLAIN) if self.row.taught else None
        return {"teacher": teacher, "teaching": self.row.teaching}

    def time(self, epochs: float, *folders: Path) -> dict:
        """Epochs in all, and the minutes of the training steps of run folders."""
        seconds = 0.0
        for folder in folders:
            done = 0
            for _, line in read_lines((folder / TIMING).read_bytes()):
                images = (line["step"] - done) * self.recipe.batch_size
                seconds, done = seconds + images / line["images_per_second"], line["step"]
        return {"epochs": epochs, "minutes": seconds / 60}


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
    model, found = _tree(job) if row.network == "tree" else _network(job)
    own = {"row": row.name, "seed": seed, "recipe": recipe_document(recipe), "data": data.name}
    own |= {"data_digest": data.digest(), "params": (size := cost(model)).params}
    write_json(path, own | {"flops": size.flops} | found | describe_machine())
    return read_json(path)


def _network(job: Job) -> tuple[keras.Model, dict]:
    """A whole network, narrowed or not, trained as long as the trees, or the teacher as it is."""
    row, folders, epochs = job.row, [job.whole], job.recipe.plain.epochs
    model, found = load_model(job.whole / PLAIN), GroupResult.read(job.whole)
    plan = [(row.name, "baseline", job.recipe.baseline)] if row.network != "teacher" else []
    if row.network == "narrowed":
        model, folders = build(slim(job.recipe, job.data), job.data), []
        plan.insert(0, ("narrowed-plain", "plain", job.recipe.plain))
    for name, phase_name, phase in plan:
        (train, valid, test), run = job.feeds(phase_name), job.folder(name)
        taught = job.taught() if name == row.name else {}
        found = finetune(model, train, valid, phase, run=run, test=test, **MORE, **taught).result
        folders.append(run)
    epochs += found.epochs if len(plan) else 0
    errors = {"error": 1 - found.test_accuracy, "valid_error": 1 - found.valid_accuracy}
    return model, errors | job.time(epochs, *folders)


def _tree(job: Job) -> tuple[keras.Model, dict]:
    """The tree, its errors at its stages, and what became of the groups."""
    row, recipe = job.row, job.recipe
    grouped = group_model(
        load_model(job.whole / PLAIN), sections("deep"), gates=row.gates, seed=job.seed
    )
    at_start, learned, group = _learned(job, grouped)
    (train, valid, test), run = job.feeds("finetune"), job.folder(row.name)
    common = {"run": run, **MORE, **job.taught()}
    found = split(grouped, learned.grouping, train, valid, test, recipe.finetune, **common)
    errors = {name: 1 - accuracy for name, accuracy in found.result.test_accuracy.items()}
    epochs = recipe.plain.epochs + learned.result.epochs + found.result.epochs
    return found.tree.model, {
        **{"error": errors["finetuned"], "valid_error": 1 - found.result.valid_accuracy},
        **{"error_before": errors["before"], "error_after_cut": errors["recalibrated"]},
        **job.time(epochs, job.whole, group, run),
        "moved": learned.result.moved,
        "group_weight": [at_start, learned.result.group_weight],
        "off_block_energy": learned.result.off_block_energy,
        "nmi": learned.result.nmi,
    }


def _learned(job: Job, grouped: keras.Model) -> tuple[float, LearnedGroups, Path]:
    """R_W at the start, the groups, and their run folder."""
    row, data, seed = job.row, job.data, job.seed
    given = given_groups(row.grouping, plan_of(grouped), data, seed)
    labels, exchange = given and given.labels, row.start == "exchange"
    start_from_clusters(grouped, class_labels=labels, seed=seed, exchange=exchange)
    at_start = float(split_losses(grouped).terms()["group_weight"])
    kind = "gates" if row.gates else row.start if exchange else row.grouping
    train, valid, _ = job.feeds("group")
    learned = learn_groups(
        *(grouped, train, valid),
        dataclasses.replace(job.recipe.group, assignment_start=row.start),
        **{"run": job.folder(f"group-{kind}"), "given": given, "seed": seed, **MORE},
        **{"class_names": data.class_names, "superclasses": data.superclasses},
    )
    return at_start, learned, job.folder(f"group-{kind}")


def given_groups(name: str, plan, data: Dataset, seed: int) -> GivenClasses | None:
    """Groups of the classes of a row."""
    if name != WORST:
        taxonomy = superclass_taxonomy(data)
        return given_classes(name, plan, data.class_names, taxonomy=taxonomy, seed=seed)
    order = np.argsort(data.superclasses, kind="stable")
    labels = np.empty(len(order), int)
    labels[order] = np.arange(len(order)) % plan.groups[-1]  # neighbours part
    return GivenClasses(name, labels)
