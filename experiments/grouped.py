"""The grouping phase of a row."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import keras
import numpy as np
from keras import ops

from experiments.work import Work, folder_of
from splitnet_tf.data import superclass_taxonomy
from splitnet_tf.errors import RunError
from splitnet_tf.grouping import (
    Grouping,
    SplitLosses,
    SplitPlan,
    group_model,
    read_grouping,
    split_losses,
    start_from_clusters,
)
from splitnet_tf.grouping.given import random_classes, taxonomy_classes
from splitnet_tf.grouping.paces import gradient_scales
from splitnet_tf.grouping.start import FIRM, class_assignment, last_kernel, weight_clusters
from splitnet_tf.storage.json_files import read_json, write_json
from splitnet_tf.storage.models import load_model

PARTS = 8  # of an epoch of grouping, between which gamma1 grows


def group(work: Work, start: keras.Model, plan: SplitPlan) -> tuple[keras.Model, Grouping]:
    """The grouped model after its phase, and its grouping.

    Args:
      work: of the row.
      start: the network after its plain phase.
      plan: of the row's split.

    Raises:
      GroupingError: a group came out empty.
      DataError: no superclasses for semantic groups.
      RunError: clusters of a baseline that is not there.
    """
    row, recipe, folder = work.row, work.recipe, work.folder
    path = folder / "grouped.keras"
    if path.exists():
        grouped = load_model(path)
        return grouped, _decide(work, grouped)
    grouped = group_model(
        *(start, plan, recipe.gamma1, recipe.gamma2, recipe.gamma3),
        reduction="weighted" if recipe.weighted else "mean",
        seed=row.seed,
    )
    losses = split_losses(grouped)
    given = _given_classes(work, plan, losses)
    if recipe.start == "clustering":
        start_from_clusters(losses, plan, given, largest_p=recipe.start_p, seed=row.seed)
    still = ()
    if given is not None:
        still = (class_assignment(losses),)
        still[0].assign(given, FIRM)
    _write_start(folder, losses)

    def grow(share: float) -> None:
        grown = recipe.gamma1_growth ** min(1.0, share / recipe.growth_share)
        losses.strength.assign([grown, 1.0, 1.0])

    work.fit(
        *("group", grouped, recipe.group, path),
        paces=gradient_scales(losses, recipe.pace, still),
        parts=PARTS,
        before_part=grow,
    )
    return grouped, _decide(work, grouped)


def _decide(work: Work, grouped: keras.Model) -> Grouping:
    grouping = read_grouping(grouped, work.recipe.method, work.data.class_names)
    grouping.save(work.folder / "grouping.json")
    return grouping


def _write_start(folder: Path, losses: SplitLosses) -> None:
    """The group of every channel before it is learned, by space."""
    groups = {
        a.space: ops.convert_to_numpy(a.p()).argmax(axis=0).tolist() for a in losses.assignments()
    }
    write_json(folder / "start.json", {"groups": groups})


def moved(folder: Path, grouping: Grouping) -> dict[str, float]:
    """Share of the classes, and of the features of all spaces, that left the group of the start."""
    start = read_json(folder / "start.json")["groups"]
    moved = {space.name: np.array(start[space.name]) != space.labels() for space in grouping.spaces}
    classes = moved.pop(grouping.class_space)
    features = np.concatenate(list(moved.values())) if moved else np.zeros(1)
    return {"classes": float(classes.mean()), "features": float(features.mean())}


def _given_classes(work: Work, plan: SplitPlan, losses: SplitLosses) -> np.ndarray | None:
    """Groups of the classes that are not learned, (classes,), or None."""
    row, data = work.row, work.data
    if row.grouping == "learned":
        return None
    if row.grouping == "random":
        return random_classes(data.num_classes, plan, row.seed)
    if row.grouping == "semantic":
        return taxonomy_classes(data.class_names, superclass_taxonomy(data), plan)
    kernel = last_kernel(losses)
    if not work.recipe.plain.epochs:  # nothing is in the weights: cluster a trained network's
        baseline = dataclasses.replace(row, split="baseline", grouping="learned", variant="")
        wanted = {**work.wanted, "row": dataclasses.asdict(baseline)}
        path = folder_of(baseline.name, wanted, work.folder.parent) / "model.keras"
        if not path.exists():
            raise RunError(
                f"Clusters are those of the trained baseline, and {path} does not exist; run the "
                "row baseline of this seed first, with the same data, precision and backend."
            )
        kernel = ops.convert_to_numpy(load_model(path).get_layer("logits").kernel)
    return weight_clusters(kernel, plan, row.seed)
