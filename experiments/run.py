"""One row of a table: a network trained, grouped, cut and finetuned as a recipe says."""

from __future__ import annotations

import logging
from pathlib import Path

import keras

from experiments.fitting import Accuracy
from experiments.grouped import group, moved
from experiments.machine import describe_machine
from experiments.network import build, slim
from experiments.recipe import WHOLE, Recipe, recipe_document, sections
from experiments.row import Row
from experiments.work import Work, folder_of, settings
from splitnet_tf.analysis import cost
from splitnet_tf.analysis.agreement import agreement
from splitnet_tf.data import Dataset
from splitnet_tf.errors import EmptyGroupError, TrainingError
from splitnet_tf.grouping import SplitPlan
from splitnet_tf.recipe import recalibrate_batch_norm
from splitnet_tf.splitting import split_model
from splitnet_tf.storage.json_files import read_json, write_json
from splitnet_tf.storage.models import load_model


def run_row(row: Row, recipe: Recipe, data: Dataset, runs: Path) -> dict:
    """Trains what a row needs, or goes on with it, and returns its document.

    The document is written to ``row.json`` in the row's folder; a row that has one by the same
    recipe, on the same data, is not trained again. Where a group came out empty, the document
    says so as ``collapsed``, where weights were not finite as ``diverged``, and has no errors.

    Raises:
      DataError: no superclasses for semantic groups.
      RunError: another process trains this row, or another row is needed first.
    """
    wanted = settings(row, recipe, data)
    folder = folder_of(row.name, wanted, runs / row.scale)
    try:
        return read_json(folder / "row.json")
    except (FileNotFoundError, ValueError):
        pass
    network = slim(recipe, data) if row.split == "slim" else recipe
    work = Work(row, network, data, wanted, folder)
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
    shared = {key: document[key] for key in keys} | {"seed": row.seed}
    shared |= {key: v for key, v in work.wanted.items() if key not in ("row", "recipe")}
    folder = folder_of("plain", shared, work.folder.parent)
    path = folder / "plain.keras"
    if not path.exists():
        plain = Work(row, recipe, data, shared, folder)
        with plain.own():
            plain.fit("plain", model, recipe.plain, path)
    model.set_weights(load_model(path).get_weights())
    return model


def _whole(work: Work, model: keras.Model) -> dict:
    """The network trained to the end as it is."""
    path = work.folder / "model.keras"
    if not path.exists():
        work.fit("baseline", model, work.recipe.baseline, path)
    model = load_model(path)
    whole = cost(model)
    return {
        **_errors(Accuracy(model), work.data),
        "width": work.recipe.width,
        "params": whole.params,
        "flops": whole.flops,
    }


def _tree(work: Work, plain: keras.Model) -> dict:
    """Grouped, cut and finetuned."""
    row, recipe, data, folder = work.row, work.recipe, work.data, work.folder
    keras.utils.set_random_seed(work.seed("tree"))  # alike whether or not the plain phase was there
    start = build(recipe, data, row.split)
    _copy_weights(plain, start)
    plan = SplitPlan.from_sections(start, sections(row.split))
    grouped, grouping = group(work, start, plan)
    tree = split_model(grouped, grouping, plan, dropout=0.0)
    # Moving averages lag behind weights in training, before a cut as after it: both are told with
    # statistics estimated anew as well.
    document = {}
    for stage, model in (("before", grouped), ("after_cut", tree.model)):
        accuracy = Accuracy(model)
        document |= _errors(accuracy, data, stage)
        if recipe.recalibrate:
            recalibrate_batch_norm(model, work.whitened())
            document |= _errors(accuracy, data, f"{stage}_recalibrated")
    path = folder / "tree.keras"
    if not path.exists():
        if recipe.finetune_from == "scratch":
            keras.utils.set_random_seed(work.seed("scratch"))
            tree.model.set_weights(keras.models.clone_model(tree.model).get_weights())
        work.fit("finetune", tree.model, recipe.finetune, path)
    model = load_model(path)
    parts, labels = cost(model), grouping.classes.labels()
    document |= {
        **_errors(Accuracy(model), data),
        "params": parts.params,
        "flops": parts.flops,
        "sizes": [len(m) for m in grouping.classes.members],
        "moved": moved(folder, grouping),
    }
    if data.superclasses is not None:
        scores = agreement(labels, data.superclasses)
        document |= {"nmi": scores.nmi, "random_nmi": scores.random_nmi}
    return document


def _errors(accuracy: Accuracy, data: Dataset, *stage: str) -> dict:
    """Of the test, and of the validation images, by which recipes are chosen; ``stage``: when."""
    splits = (("error", data.test), ("valid_error", data.valid))
    return {"_".join((name, *stage)): 1.0 - accuracy(split) for name, split in splits}


def _copy_weights(source: keras.Model, target: keras.Model) -> None:
    """By layer name; layers without weights of their own, such as dropout, are left alone."""
    layers = {layer.name: layer for layer in source.layers}
    for layer in target.layers:
        if layer.name in layers:
            layer.set_weights(layers[layer.name].get_weights())
