"""One row of structured sparsity with one seed: plain, sparse, shrunk, finetuned, and controls."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Mapping
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from experiments.machine import describe_machine
from experiments.ssl_rows import BASELINE, BATCH, FINETUNE, PLAIN, SPARSE, SslRow
from splitnet_tf import models
from splitnet_tf.data import Dataset
from splitnet_tf.data.feeds import ArrayFeed, Feed
from splitnet_tf.recipe import Phase
from splitnet_tf.sparsity import (
    Changes,
    Kept,
    Selection,
    group_norms,
    random_like,
    read_selection,
    shrink_model,
    structure_groups,
)
from splitnet_tf.stages.finetune import finetune
from splitnet_tf.stages.loop import Loop
from splitnet_tf.stages.shrink import shrink
from splitnet_tf.stages.sparsify import sparsify
from splitnet_tf.storage.json_files import checksum, read_json, write_json

LOOP = Loop(display=1000)


class ShiftedFeed(ArrayFeed):
    """Images shifted at random in training, by whole pixels in each direction.

    Args:
      arrays, batch_size, seed: see ``ArrayFeed``.
      most: int, most pixels; what comes in is zero.
    """

    def __init__(self, arrays: tuple, batch_size: int, seed: int, most: int):
        super().__init__(arrays, batch_size, seed)
        self._most = most

    def training(self, start_step: int = 0) -> tf.data.Dataset:
        @tf.autograph.experimental.do_not_convert
        def shifted(step, batch):
            images, labels = batch
            (count, *size), most = images.shape[:3], self._most
            margins = [[0, 0], [most, most], [most, most], [0, 0]]
            seed = tf.stack([tf.constant(self._seed, tf.int64), step])
            starts = tf.random.stateless_uniform((2, count), seed, 0, 2 * most + 1, tf.int32)
            padded = tf.pad(images, margins)
            for axis in (0, 1):
                rows = starts[axis][:, None] + tf.range(size[axis])[None]
                padded = tf.gather(padded, rows, axis=1 + axis, batch_dims=1)
            return padded, labels

        steps = tf.data.Dataset.counter(start_step)
        return tf.data.Dataset.zip((steps, super().training(start_step))).map(shifted)


@dataclasses.dataclass(frozen=True)
class Job:
    """A row with a seed, its data and its folder.

    Attributes:
      row: the row.
      seed: int, seed of weights and orders.
      data: MNIST, or data of its shape.
      folder: folder of the row's runs.
    """

    row: SslRow
    seed: int
    data: Dataset
    folder: Path

    def feed(self, phase: str) -> Feed:
        """Training images of 0 to 1; each phase has an order of its own."""
        order = int(np.random.SeedSequence([self.seed, *phase.encode()]).generate_state(1)[0] >> 1)
        train = _scaled(self.data.train)
        return ShiftedFeed(train, BATCH, order, self.row.shifts)

    def others(self) -> dict[str, tuple]:
        """Arguments of a stage for the images that are not trained on."""
        return {"valid": _scaled(self.data.valid), "test": _scaled(self.data.test)}

    def trained(self, name: str, model: keras.Model, phase: Phase, folder: Path | None = None):
        """Trains a plain network, or goes on with it; its test error in percent."""
        run = (folder or self.folder) / name
        found = finetune(model, self.feed(name), phase=phase, run=run, loop=LOOP, **self.others())
        return 100 * (1 - found.result.test_accuracy)


def run_row(row: SslRow, seed: int, data: Dataset, runs: Path) -> dict:
    """Trains what a row needs, or goes on with it, and returns its document.

    Args:
      row: the row.
      seed: int, seed of weights and orders.
      data: data set to train on.
      runs: folder of all runs; the plain phase is shared by rows of one network.
    """
    wanted = settings(row, seed, data)
    job = Job(row, seed, data, runs / f"{row.name}-seed{seed}-{checksum(wanted)[:8]}")
    try:
        return read_json(job.folder / "row.json")
    except (FileNotFoundError, ValueError):
        pass
    logging.info("%s, seed %d", row.name, seed)
    keras.utils.set_random_seed(seed)
    model = models.build(row.model, data.num_classes, data.input_shape)
    shared = f"plain-{row.model}-shifts{row.shifts}-seed{seed}"
    plain = {"error_plain": job.trained(shared, model, PLAIN, runs)}
    if row.strengths:
        found = _shrunk(job, model)
    else:
        found = {"error": job.trained("baseline", model, BASELINE)}
        found["layers"], found["units"] = _counts(shrink_model(model).changes)
        found["whole"] = 100.0
    document = {**wanted, "data": data.name, **plain, **found, **describe_machine()}
    write_json(job.folder / "row.json", document)
    return read_json(job.folder / "row.json")


def settings(row: SslRow, seed: int, data: Dataset) -> dict:
    """All that decides what a row becomes, except for the code."""
    phases = {"plain": PLAIN, "finetune": FINETUNE, "baseline": BASELINE}
    return {
        "row": row.name,
        "seed": seed,
        "strengths": {s: dict(v) for s, v in row.strengths.items()},
        "most": dict(row.most),
        "shifts": row.shifts,
        "batch_size": BATCH,
        "phases": {n: [p.epochs, p.rate] for n, p in phases.items()} | {"sparse": dict(SPARSE)},
        "data_digest": data.digest(),
    }


def _shrunk(job: Job, plain: keras.Model) -> dict:
    """Errors and sizes of the network made sparse and shrunk, and of its controls."""
    start = plain.get_weights()
    model, row = plain, job.row
    found = sparsify(
        model,
        job.feed("sparse"),
        recipe=row.recipe,
        run=job.folder / "sparse",
        loop=LOOP,
        **job.others(),
    )
    selection = at_most(model, read_selection(model), row.most)
    images = job.others()
    small = shrink(
        model,
        job.feed("finetune"),
        images["valid"],
        images["test"],
        FINETUNE,
        selection=selection,
        gather=True,
        run=job.folder / "small",
        loop=LOOP,
    )
    layers, units = _counts(small.changes)
    document = {
        "error": 100 * (1 - small.result.test_accuracy["finetuned"]),
        "error_sparse": 100 * (1 - found.result.test_accuracy),
        "error_shrunk": 100 * (1 - small.result.test_accuracy["shrunk"]),
        "valid_error": 100 * (1 - small.result.valid_accuracy),
        "trimmed": selection.method != "zeros",
        "layers": layers,
        "units": units,
        "whole": _share(small.changes, "multiply_adds"),
        "weights": _share(small.changes, "weights"),
    }
    return document | {"controls": _controls(job, model, start, small)}


def _controls(job: Job, model: keras.Model, start: list, small) -> dict[str, float]:
    """Errors of random channels of the plain network, and of a network narrow from the start."""
    if "shapes" in job.row.strengths:  # no choice of channels has this size
        return {}
    model.set_weights(start)
    images = job.others()
    chosen = shrink(
        model,
        job.feed("random"),
        images["valid"],
        images["test"],
        BASELINE,
        selection=random_like(model, small.selection, job.seed),
        run=job.folder / "random",
        loop=LOOP,
    )
    keras.utils.set_random_seed(job.seed)
    narrow = keras.models.clone_model(small.model)
    whole = dataclasses.replace(PLAIN, epochs=PLAIN.epochs + BASELINE.epochs)
    return {
        "random": 100 * (1 - chosen.result.test_accuracy["finetuned"]),
        "narrow": job.trained("narrow", narrow, whole),
    }


def at_most(model: keras.Model, selection: Selection, most: Mapping[str, int]) -> Selection:
    """A selection with at most so many channels in some spaces, those of the largest norms."""
    if all(len(selection.space(name).indices) <= count for name, count in most.items()):
        return selection
    weights, spaces = {v.path: v for v in model.variables}, []
    groups = {g.name: g for g in structure_groups(model, "spaces", frozen=True)}
    for kept in selection.spaces:
        mask = kept.mask()
        norms = keras.ops.convert_to_numpy(group_norms(groups[kept.name], weights)) * mask
        count = min(int(mask.sum()), most.get(kept.name, kept.size))
        mask = mask & np.isin(np.arange(kept.size), np.argsort(-norms, kind="stable")[:count])
        spaces.append(Kept.from_mask(kept.name, mask))
    return dataclasses.replace(selection, method="norms", spaces=tuple(spaces))


def _scaled(split) -> tuple[np.ndarray, np.ndarray]:
    return split.images.astype("float32") / 255, split.labels


def _counts(changes: Changes) -> tuple[dict[str, float], dict[str, list[int]]]:
    """Multiply-adds left of each layer in percent, and its inputs and outputs left."""
    layers = {
        k.layer: 100 * k.multiply_adds(True) / k.multiply_adds(False) for k in changes.kernels
    }
    return layers, {k.layer: [int(np.prod(k.after[:-1])), k.after[-1]] for k in changes.kernels}


def _share(changes: Changes, what: str) -> float:
    return 100 * changes.total(what, True) / changes.total(what, False)
