"""The grouping phase of a row."""

from __future__ import annotations

from pathlib import Path

import keras
import numpy as np
from keras import ops

from experiments.row import Row
from experiments.work import Work
from splitnet_tf.data import Dataset, superclass_taxonomy
from splitnet_tf.graph import SplitPlan
from splitnet_tf.grouping import (
    Grouping,
    SplitLosses,
    group_model,
    split_losses,
    start_from_clusters,
)
from splitnet_tf.grouping.given import random_classes, taxonomy_classes
from splitnet_tf.grouping.start import given_assignments, start_from_given, weight_clusters
from splitnet_tf.json_files import read_json, write_json
from splitnet_tf.saving import load_model, save_model
from splitnet_tf.splitting import read_grouping

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
    """
    row, recipe, data, folder = work.row, work.recipe, work.data, work.folder
    path = folder / "grouped.keras"
    if path.exists() and (folder / "grouping.json").exists():
        return load_model(path), Grouping.load(folder / "grouping.json")
    grouped = group_model(
        *(start, plan, recipe.gamma1, recipe.gamma2, recipe.gamma3),
        reduction="weighted" if recipe.weighted else "mean",
        seed=row.seed,
    )
    losses = split_losses(grouped)
    paces = {id(a.logits): recipe.pace for a in losses.assignments()}
    given = _given_classes(row, data, plan, losses)
    if given is not None:
        start_from_given(losses, plan, given, "learned")
        paces |= {id(a.logits): 0.0 for a in given_assignments(losses, "learned")}
    elif recipe.start == "clustering":
        start_from_clusters(losses, plan, largest_p=recipe.start_p, seed=row.seed)

    _write_start(folder, losses)

    def grow(share: float) -> None:
        grown = recipe.gamma1_growth ** min(1.0, share / recipe.growth_share)
        losses.strength.assign([grown, 1.0, 1.0])

    work.fit(
        *("group", grouped, recipe.group, row.seed),
        paces=paces,
        parts=PARTS,
        before_part=grow,
    )
    grouping = read_grouping(grouped, recipe.method, data.class_names)
    save_model(grouped, path)
    grouping.save(folder / "grouping.json")
    return grouped, grouping


def _write_start(folder: Path, losses: SplitLosses) -> None:
    """The group of every channel before it is learned, by space."""
    groups = {
        a.name.removeprefix("space_"): ops.convert_to_numpy(a.p()).argmax(axis=0).tolist()
        for a in losses.assignments()
    }
    write_json(folder / "start.json", {"groups": groups})


def moved(folder: Path, grouping: Grouping) -> dict[str, float]:
    """Share of the classes, and of the features of all spaces, that left the group of the start."""
    start = read_json(folder / "start.json")["groups"]
    moved = {space.name: np.array(start[space.name]) != space.labels() for space in grouping.spaces}
    classes = moved.pop(grouping.class_space)
    features = np.concatenate(list(moved.values())) if moved else np.zeros(1)
    return {"classes": float(classes.mean()), "features": float(features.mean())}


def _given_classes(
    row: Row, data: Dataset, plan: SplitPlan, losses: SplitLosses
) -> np.ndarray | None:
    """Groups of the classes that are not learned, (classes,), or None."""
    if row.grouping == "learned":
        return None
    if row.grouping == "random":
        return random_classes(data.num_classes, plan, row.seed)
    if row.grouping == "semantic":
        return taxonomy_classes(data.class_names, superclass_taxonomy(data), plan)
    return weight_clusters(losses, plan, row.seed)
