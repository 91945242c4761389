"""One row of a table: a network trained, grouped, cut and finetuned as a recipe says."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import keras
import numpy as np

from experiments.given import given_groups
from experiments.machine import describe_machine
from experiments.network import build, slim
from experiments.recipe import WHOLE, Recipe, recipe_document, sections
from experiments.row import Row, folder_of, settings
from experiments.variants import recipe_of
from experiments.work import Work
from splitnet_tf import fitting
from splitnet_tf.analysis import cost
from splitnet_tf.analysis.agreement import agreement
from splitnet_tf.data import Dataset
from splitnet_tf.errors import EmptyGroupError, TrainingError
from splitnet_tf.grouping import (
    Grouping,
    group_model,
    plan_of,
    read_grouping,
    split_losses,
    start_from_clusters,
)
from splitnet_tf.grouping.callbacks import GroupingSchedule
from splitnet_tf.grouping.paces import paces
from splitnet_tf.grouping.start import given_assignments
from splitnet_tf.recipe.distillation import TaughtCrossEntropy
from splitnet_tf.recipe.preprocessing import WHITEN
from splitnet_tf.splitting import split_model
from splitnet_tf.storage.json_files import read_json, write_json
from splitnet_tf.storage.models import load_model


def run_row(row: Row, recipe: Recipe, data: Dataset, runs: Path, engine: Any = fitting) -> dict:
    """Trains what a row needs, or goes on with it, and returns its document.

    The document is written to ``row.json`` in the row's folder; a row that has one by the same
    recipe, on the same data, is not trained again. Where a group came out empty, the document
    says so as ``collapsed``, where weights were not finite as ``diverged``, and has no errors.

    Args:
      row: the row.
      recipe: its recipe.
      data: data set to train on.
      runs: folder of all runs.
      engine: trains and measures, see ``Work``.

    Raises:
      RunError: another process trains this row.
    """
    wanted = settings(row, recipe, data)
    folder = folder_of(row.name, wanted, runs / row.scale)
    try:
        return read_json(folder / "row.json")
    except (FileNotFoundError, ValueError):
        pass
    network = slim(recipe, data) if row.split == "slim" else recipe
    work = Work(row, network, data, wanted, folder, engine)
    machine = describe_machine()
    with work.own():
        logging.info("%s, %s", row.scale, row.name)
        keras.utils.set_random_seed(row.seed)
        try:
            plain = _plain(work)
            found = _whole(work, plain) if row.split in WHOLE else _tree(work, plain)
        except EmptyGroupError as error:
            found = {"collapsed": str(error)}
        except TrainingError as error:
            found = {"diverged": str(error)}
        document = {**wanted, "data": data.name, **found, "seconds": work.seconds(), **machine}
        write_json(folder / "row.json", document)
    return read_json(folder / "row.json")


def _plain(work: Work) -> keras.Model:
    """The network after its plain phase, which all rows with this seed share."""
    row, recipe, data = work.row, work.recipe, work.data
    model = build(recipe, data)
    if not recipe.plain.epochs:
        return model
    keys = ("depth", "width", "plain", "batch_size", "label_smoothing", "nesterov", "bn_scale")
    document = recipe_document(recipe)
    shared = {key: document[key] for key in (*keys, "augment") if key in document}
    shared |= {"seed": row.seed}
    shared |= {key: v for key, v in work.wanted.items() if key not in ("row", "recipe")}
    folder = folder_of("plain", shared, work.folder.parent)
    plain = Work(row, recipe, data, shared, folder, work.engine)
    with plain.own():
        return plain.trained("plain", model, recipe.plain, "plain.keras")


def _whole(work: Work, model: keras.Model) -> dict:
    """Errors and sizes of the network trained to the end as it is."""
    more = _taught(work)
    model = work.trained("baseline", model, work.recipe.baseline, "model.keras", **more)
    errors = _errors(work.engine.Accuracy(model, WHITEN), work.data)
    return {**errors, "width": work.recipe.width, **_sizes(model)}


def _tree(work: Work, plain: keras.Model) -> dict:
    """Errors and sizes of the network grouped, cut and finetuned, and of its stages."""
    recipe, data = work.recipe, work.data
    keras.utils.set_random_seed(work.seed("tree"))  # alike whether or not the plain phase was there
    grouped, grouping = _grouped(work, plain)
    tree = split_model(grouped, grouping, dropout=0.0)
    # Moving averages lag behind weights in training, before a cut as after it: both are measured
    # with statistics estimated anew as well.
    document = {}
    for stage, model in (("before", grouped), ("after_cut", tree.model)):
        accuracy = work.engine.Accuracy(model, WHITEN)
        document |= _errors(accuracy, data, stage)
        if recipe.recalibrate:
            work.recalibrate(model)
            document |= _errors(accuracy, data, f"{stage}_recalibrated")
    if recipe.finetune_from == "scratch":
        keras.utils.set_random_seed(work.seed("scratch"))
        tree.model.set_weights(keras.models.clone_model(tree.model).get_weights())
    more = _taught(work, grouping)
    model = work.trained("finetune", tree.model, recipe.finetune, "tree.keras", **more)
    document |= {**_errors(work.engine.Accuracy(model, WHITEN), data), **_sizes(model)}
    document["sizes"] = [len(members) for members in grouping.classes.members]
    start = read_json(work.folder / "start.json")
    document["moved"] = _moved(start["groups"], grouping)
    document["group_weight"] = [start["group_weight"], _group_weight(grouped)]
    if data.superclasses is not None:
        scores = agreement(grouping.classes.labels(), data.superclasses)
        document |= {"nmi": scores.nmi, "random_nmi": scores.random_nmi}
    return document


def _taught(work: Work, grouping: Grouping | None = None) -> dict:
    """Arguments of the last phase for the recipe's teacher and its loss on the groups."""
    recipe, groups = work.recipe, None
    if not recipe.teacher and not recipe.group_loss:
        return {}
    if recipe.group_loss:
        groups = grouping.classes.labels()
    teaching = TaughtCrossEntropy(
        teacher_weight=recipe.teacher_weight if recipe.teacher else 0.0,
        temperature=recipe.temperature,
        groups=groups,
        group_weight=recipe.group_loss,
        label_smoothing=recipe.finetune.label_smoothing,
    )
    if not recipe.teacher:
        return {"teaching": teaching}
    row, teacher = Row(recipe.teacher, "baseline"), recipe_of(recipe.teacher, "")
    runs = work.folder.parents[1]
    run_row(row, teacher, work.data, runs, work.engine)
    folder = folder_of(row.name, settings(row, teacher, work.data), runs / row.scale)
    return {"teacher": load_model(folder / "model.keras"), "teaching": teaching}


def _grouped(work: Work, plain: keras.Model) -> tuple[keras.Model, Grouping]:
    """The grouped model after its phase, and its grouping.

    Raises:
      EmptyGroupError: a group came out empty.
    """
    row, recipe = work.row, work.recipe
    start = build(recipe, work.data, row.split)
    _copy_weights(plain, start)
    grouped = group_model(
        *(start, sections(row.split), recipe.gamma1, recipe.gamma2, recipe.gamma3),
        reduction="weighted" if recipe.weighted else "mean",
        gates=recipe.gates,
        seed=row.seed,
    )
    losses, phase, plan = split_losses(grouped), recipe.group, plan_of(grouped)
    labels = given_groups(recipe.classes, plan, work.data, row.seed)
    if phase.assignment_start != "random":
        exchange = phase.assignment_start == "exchange"
        how = {"largest_p": phase.start_p, "seed": row.seed, "exchange": exchange}
        start_from_clusters(grouped, class_labels=labels, **how)
    if not (work.folder / "grouped.keras").exists():
        p = {a.space: keras.ops.convert_to_numpy(a.p()) for a in losses.assignments()}
        groups = {name: p[name].argmax(axis=0).tolist() for name in p}
        start_weight = _group_weight(grouped)
        write_json(work.folder / "start.json", {"groups": groups, "group_weight": start_weight})
    still = () if labels is None else given_assignments(losses, plan, "learned")
    schedule = GroupingSchedule(
        *(0.0, phase.gamma1_growth, phase.growth_share), start="random", grouped=grouped
    )
    grouped = work.trained(
        *("group", grouped, phase, "grouped.keras"),
        paces=paces(losses, phase.pace, still),
        callbacks=[schedule],
    )
    grouping = read_grouping(grouped, recipe.method, work.data.class_names)
    grouping.save(work.folder / "grouping.json")
    return grouped, grouping


def _group_weight(grouped: keras.Model) -> float:
    """R_W as it stands."""
    return float(keras.ops.convert_to_numpy(split_losses(grouped).terms()["group_weight"]))


def _moved(start: dict[str, list[int]], grouping: Grouping) -> dict[str, float]:
    """Shares of the classes, and of the features of all spaces, that left their first group."""
    moved = {space.name: np.array(start[space.name]) != space.labels() for space in grouping.spaces}
    classes = moved.pop(grouping.class_space)
    features = np.concatenate(list(moved.values())) if moved else np.zeros(1)
    return {"classes": float(classes.mean()), "features": float(features.mean())}


def _errors(accuracy, data: Dataset, *stage: str) -> dict:
    """Errors on test and validation images (by which recipes are chosen) at a stage."""
    splits = (("error", data.test), ("valid_error", data.valid))
    return {"_".join((name, *stage)): 1.0 - accuracy(split) for name, split in splits}


def _sizes(model: keras.Model) -> dict:
    found = cost(model)
    return {"params": found.params, "flops": found.flops}


def _copy_weights(source: keras.Model, target: keras.Model) -> None:
    """Copies weights by layer name; layers without weights, such as dropout, are left alone."""
    layers = {layer.name: layer for layer in source.layers}
    for layer in target.layers:
        if layer.name in layers:
            layer.set_weights(layers[layer.name].get_weights())
