"""One row of a table: a network trained, grouped, cut and finetuned as a recipe says."""

from __future__ import annotations

import dataclasses
import logging
import time
from pathlib import Path

import keras
import numpy as np

from experiments.fitting import Accuracy, fit_phase
from experiments.machine import describe_machine
from experiments.preprocessing import Whiten
from experiments.recipe import Recipe, sections
from splitnet_tf import models
from splitnet_tf.analysis import cost
from splitnet_tf.analysis.agreement import agreement
from splitnet_tf.data import Dataset
from splitnet_tf.errors import GroupingError
from splitnet_tf.graph import SplitPlan
from splitnet_tf.grouping import Grouping, group_model, split_losses, start_from_clusters
from splitnet_tf.grouping.clusters import cluster_classes, kernel_similarity
from splitnet_tf.grouping.given import random_classes, taxonomy_classes
from splitnet_tf.grouping.start import given_assignments, last_kernel, start_from_given
from splitnet_tf.json_files import CHECKSUM, checksum, read_json, write_json
from splitnet_tf.saving import load_model, save_model
from splitnet_tf.splitting import read_grouping, recalibrate_batch_norm, split_model

GROUPINGS = ("learned", "semantic", "clustering", "random")
PARTS = 8  # of an epoch of grouping, between which gamma1 grows


@dataclasses.dataclass(frozen=True)
class Row:
    """What a row of a table is.

    Attributes:
      scale: its recipe's name.
      split: one of ``recipe.SPLITS``.
      grouping: one of ``GROUPINGS``.
      seed: of weights, order and augmentation.
      variant: what a sweep changes, ``pace=4`` say.
    """

    scale: str
    split: str
    grouping: str = "learned"
    seed: int = 0
    variant: str = ""

    @property
    def name(self) -> str:
        """Of its folder and its file."""
        parts = [self.split]
        parts += [self.grouping] if self.split != "baseline" else []
        parts += [self.variant] if self.variant else []
        return "-".join((*parts, f"seed{self.seed}"))


def run_row(row: Row, recipe: Recipe, data: Dataset, runs: Path) -> dict:
    """Trains what a row needs, or goes on with it, and returns its document.

    The document is written to ``row.json`` in the row's folder; a row that has one by the same
    recipe is not trained again.

    Raises:
      GroupingError: a group came out empty.
    """
    folder = runs / row.scale / row.name
    wanted = {"row": dataclasses.asdict(row), "recipe": recipe_document(recipe), "data": data.name}
    try:
        found = read_json(folder / "row.json")
        if all(found[key] == value for key, value in wanted.items()):
            return found
    except (FileNotFoundError, ValueError, KeyError):
        pass
    _own(folder, wanted)
    logging.info("%s, %s", row.scale, row.name)
    keras.utils.set_random_seed(row.seed)
    clock = _Clock(folder)
    plain = _plain(row, recipe, data, runs, clock)
    if row.split == "baseline":
        found = _baseline(row, recipe, data, folder, clock, plain)
    else:
        found = _tree(row, recipe, data, folder, clock, plain)
    document = {**wanted, **found, "seconds": clock.seconds(), **describe_machine()}
    write_json(folder / "row.json", document)
    return read_json(folder / "row.json")


def recipe_document(recipe: Recipe) -> dict:
    """A recipe as JSON keeps it."""
    document = dataclasses.asdict(recipe)
    for phase in ("plain", "group", "finetune", "baseline"):
        document[phase]["drops"] = list(document[phase]["drops"])
    return document


def _own(folder: Path, wanted: dict) -> None:
    """Marks a folder as the row's; what another recipe left there goes."""
    try:
        same = read_json(folder / "config.json")
        del same[CHECKSUM]
    except (FileNotFoundError, ValueError, KeyError):
        same = None
    if same != wanted:
        for path in sorted(folder.rglob("*"), reverse=True):
            path.rmdir() if path.is_dir() else path.unlink()
        write_json(folder / "config.json", wanted)


class _Clock:
    """Seconds of each phase; of one that was interrupted, of its last part."""

    def __init__(self, folder: Path):
        self._path = folder / "seconds.json"

    def seconds(self) -> dict[str, float]:
        try:
            found = read_json(self._path)
        except (FileNotFoundError, ValueError):
            return {}
        found.pop(CHECKSUM, None)
        return found

    def time(self, phase: str, work) -> None:
        start = time.perf_counter()
        work()
        write_json(self._path, {**self.seconds(), phase: round(time.perf_counter() - start, 1)})


def _build(recipe: Recipe, data: Dataset, split: str = "baseline") -> keras.Model:
    starts = [start for start, groups in sections(split) if groups > 1]
    units = [s for s in starts if s.startswith("unit_")]
    return models.wide_resnet(
        recipe.depth,
        recipe.width,
        data.num_classes,
        data.input_shape,
        dropout=recipe.dropout if starts else 0.0,
        dropout_from=units[0] if units else None,
        bn_scale=recipe.bn_scale,
    )


def _plain(row, recipe, data, runs, clock) -> keras.Model:
    """The network after its plain phase, which all rows with this seed share."""
    model = _build(recipe, data)
    if not recipe.plain.epochs:
        return model
    document = recipe_document(recipe)
    keys = ("depth", "width", "plain", "batch_size", "label_smoothing", "bn_scale")
    wanted = {**{key: document[key] for key in keys}, "seed": row.seed, "data": data.name}
    folder = runs / row.scale / f"plain-{checksum(wanted)[:8]}"
    path = folder / "plain.keras"
    if not path.exists():
        _own(folder, wanted)
        phase = recipe.plain

        def work():
            fit_phase(
                *(model, phase, data.train, data.valid, folder / "plain", row.seed),
                batch_size=recipe.batch_size,
                label_smoothing=recipe.label_smoothing,
            )

        _Clock(folder).time("plain", work)
        save_model(model, path)
    model.set_weights(load_model(path).get_weights())
    return model


def _baseline(row, recipe, data, folder, clock, model) -> dict:
    path = folder / "model.keras"
    if not path.exists():
        _fit(clock, "baseline", model, recipe, recipe.baseline, data, folder, row.seed + 1)
        _average_statistics(model, recipe, recipe.baseline.ema, data, row.seed)
        save_model(model, path)
    model = load_model(path)
    whole = cost(model)
    return {
        "error": 1.0 - Accuracy(model)(data.test),
        "params": whole.params,
        "flops": whole.flops,
    }


def _tree(row, recipe, data, folder, clock, plain) -> dict:
    start = _build(recipe, data, row.split)
    _copy_weights(plain, start)
    plan = SplitPlan.from_sections(start, sections(row.split))
    grouped, grouping = _grouped(row, recipe, data, folder, clock, start, plan)
    tree = split_model(grouped, grouping, plan)
    document = {"error_before": 1.0 - Accuracy(grouped)(data.test)}
    accuracy = Accuracy(tree.model)
    document["error_after_cut"] = 1.0 - accuracy(data.test)
    if recipe.recalibrate:
        recalibrate_batch_norm(tree.model, _whitened(data, recipe, row.seed))
        document["error_recalibrated"] = 1.0 - accuracy(data.test)
    path = folder / "tree.keras"
    if not path.exists():
        if recipe.finetune_from == "scratch":
            _draw_anew(tree.model, row.seed)
        _fit(clock, "finetune", tree.model, recipe, recipe.finetune, data, folder, row.seed + 1)
        _average_statistics(tree.model, recipe, recipe.finetune.ema, data, row.seed)
        save_model(tree.model, path)
    model = load_model(path)
    parts, labels = cost(model), grouping.classes.labels()
    document |= {
        "error": 1.0 - Accuracy(model)(data.test),
        "params": parts.params,
        "flops": parts.flops,
        "sizes": [len(m) for m in grouping.classes.members],
    }
    if data.superclasses is not None:
        scores = agreement(labels, data.superclasses)
        document |= {"nmi": scores.nmi, "random_nmi": scores.random_nmi}
    return document


def _grouped(row, recipe, data, folder, clock, start, plan) -> tuple[keras.Model, Grouping]:
    """The grouped model after its phase, and its grouping."""
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
        start_from_clusters(losses, plan, seed=row.seed)

    def grow(share: float) -> None:
        grown = recipe.gamma1_growth ** min(1.0, share / recipe.growth_share)
        losses.strength.assign([grown, 1.0, 1.0])

    _fit(
        *(clock, "group", grouped, recipe, recipe.group, data, folder, row.seed),
        paces=paces,
        parts=PARTS,
        before_part=grow,
    )
    grouping = read_grouping(grouped, recipe.method, data.class_names)
    save_model(grouped, path)
    grouping.save(folder / "grouping.json")
    return grouped, grouping


def _given_classes(row, data, plan, losses) -> np.ndarray | None:
    """Groups of the classes that are not learned, (classes,), or None."""
    if row.grouping == "learned":
        return None
    if row.grouping == "random":
        return random_classes(data.num_classes, plan, row.seed)
    if row.grouping == "semantic":
        if data.superclasses is None:
            raise GroupingError(f"Data set '{data.name}' has no superclasses: no semantic groups.")
        taxonomy: dict[str, list[str]] = {name: [] for name in data.superclass_names}
        for name, superclass in zip(data.class_names, data.superclasses, strict=True):
            taxonomy[data.superclass_names[superclass]].append(name)
        return taxonomy_classes(data.class_names, taxonomy, plan)
    kernel = last_kernel(losses)
    return cluster_classes(
        lambda members: kernel_similarity(kernel[:, members]),
        data.num_classes,
        plan,
        row.seed,
        True,
    )


def _fit(clock, name, model, recipe, phase, data, folder, seed, **more) -> None:
    def work():
        fit_phase(
            *(model, phase, data.train, data.valid, folder / name, seed),
            batch_size=recipe.batch_size,
            label_smoothing=recipe.label_smoothing,
            **more,
        )

    clock.time(name, work)


def _average_statistics(model, recipe, ema, data, seed) -> None:
    """Averaged weights have no batch-norm statistics of their own."""
    if ema:
        recalibrate_batch_norm(model, _whitened(data, recipe, seed))


def _whitened(data, recipe, seed):
    """Training batches as the network sees them, in a seeded order."""
    chosen = np.random.default_rng([seed, 37]).permutation(len(data.train))
    whiten = Whiten()
    for i in range(max(1, recipe.recalibrate)):
        batch = chosen[i * recipe.batch_size : (i + 1) * recipe.batch_size]
        if len(batch):
            yield whiten(data.train.images[batch].astype("float32"))


def _copy_weights(source: keras.Model, target: keras.Model) -> None:
    """By layer name; layers without weights of their own, such as dropout, are left alone."""
    layers = {layer.name: layer for layer in source.layers}
    for layer in target.layers:
        if layer.name in layers:
            layer.set_weights(layers[layer.name].get_weights())


def _draw_anew(model: keras.Model, seed: int) -> None:
    """Weights of a tree as a new network would have them: He's for kernels."""
    rng = np.random.default_rng([seed, 43])
    for variable in model.trainable_variables:
        if len(variable.shape) > 1:
            fan_in = np.prod(variable.shape[:-1])
            variable.assign(rng.normal(0, np.sqrt(2 / fan_in), variable.shape))
        else:
            variable.assign(np.full(variable.shape, float(variable.name == "gamma")))
