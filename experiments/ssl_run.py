"""One row of structured sparsity with one seed: plain, sparse, shrunk, finetuned, and controls."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Iterable
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from experiments.l1 import L1Step
from experiments.machine import describe_machine
from experiments.ssl_rows import BATCH, CIFAR10, UNSTRUCTURED, SslRow
from experiments.ssl_selection import BLOCKS, at_most, random_blocks
from splitnet_tf import models
from splitnet_tf.data import Dataset, Split
from splitnet_tf.data.feeds import ArrayFeed, Feed, SplitFeed, feed_of
from splitnet_tf.recipe import CrossEntropy, Phase
from splitnet_tf.recipe.preprocessing import Preprocessing
from splitnet_tf.runs.json_lines import read_lines
from splitnet_tf.runs.names import TIMING
from splitnet_tf.sparsity import (
    Selection,
    keep_zeros,
    predict_changes,
    random_like,
    read_selection,
)
from splitnet_tf.stages.accuracy import accuracy_of
from splitnet_tf.stages.finetune import finetune, train_network
from splitnet_tf.stages.loop import Loop, run_folder
from splitnet_tf.stages.shrink import Shrink, shrink
from splitnet_tf.stages.sparsify import sparsify
from splitnet_tf.storage.json_files import checksum, read_json, write_json
from splitnet_tf.storage.models import save_model

LOOP = Loop(display=2000)
# Mean and deviation of the channels of CIFAR-10.
STANDARDIZE = Preprocessing("standardize", (0.4914, 0.4822, 0.4465), (0.247, 0.2435, 0.2616))


class ShiftedFeed(ArrayFeed):
    """Images shifted at random in training, by at most ``most`` pixels; zeros come in."""

    def __init__(self, arrays: tuple, batch_size: int, seed: int, most: int):
        super().__init__(arrays, batch_size, seed)
        self._most = most

    def training(self, start_step: int = 0) -> tf.data.Dataset:
        @tf.autograph.experimental.do_not_convert
        def shifted(step, batch):
            images, labels = batch
            (count, *size), most = images.shape[:3], self._most
            seed = tf.stack([tf.constant(self._seed, tf.int64), step])
            starts = tf.random.stateless_uniform((2, count), seed, 0, 2 * most + 1, tf.int32)
            images = tf.pad(images, [[0, 0], [most, most], [most, most], [0, 0]])
            for axis in (0, 1):
                rows = starts[axis][:, None] + tf.range(size[axis])[None]
                images = tf.gather(images, rows, axis=1 + axis, batch_dims=1)
            return images, labels

        steps = tf.data.Dataset.counter(start_step)
        return tf.data.Dataset.zip((steps, super().training(start_step))).map(shifted)


@dataclasses.dataclass(frozen=True)
class Job:
    """A row with a seed, its data and the folder of its runs."""

    row: SslRow
    seed: int
    data: Dataset
    folder: Path

    @property
    def loop(self) -> Loop:
        """The loop around each phase."""
        return dataclasses.replace(LOOP, bfloat16=self.row.data == CIFAR10)

    def feeds(self, phase: str) -> tuple[Feed, Feed, Feed]:
        """Training, validation and test images; each phase has an order of its own.

        Those of CIFAR-10 are standardized, others are scaled to 0 to 1.
        """
        order = int(np.random.SeedSequence([self.seed, *phase.encode()]).generate_state(1)[0] >> 1)
        if self.row.data == CIFAR10:
            how = (self.row.batch_size, order, self.row.augment)
            splits = self.data.train, self.data.valid, self.data.test
            return tuple(SplitFeed(s, *how, preprocessing=STANDARDIZE) for s in splits)
        train = ShiftedFeed(_scaled(self.data.train), BATCH, order, self.row.shifts)
        return train, feed_of(_scaled(self.data.valid)), feed_of(_scaled(self.data.test))

    def trained(self, name: str, model: keras.Model, phase: Phase, run: Path) -> float:
        """Trains a plain network, or goes on with it; its test error in percent."""
        train, valid, test = self.feeds(name)
        found = finetune(model, train, valid, phase, test=test, run=run, loop=self.loop)
        return _error(found.result.test_accuracy)

    def shrunk(self, name: str, model: keras.Model, phase: Phase, selection: Selection) -> Shrink:
        """Shrinks and finetunes a network, or goes on with it."""
        run = self.folder / name
        how = {"selection": selection, "gather": True, "run": run, "loop": self.loop}
        return shrink(model, *self.feeds(name), phase, **how)


def settings(row: SslRow, seed: int, digest: str) -> dict:
    """All that decides what a row becomes, except for the code."""
    return {
        "row": row.name,
        "seed": seed,
        "strengths": dict(row.strengths),
        "most": dict(row.most),
        "shifts": row.shifts,
        **({"dropout": row.dropout} if row.dropout else {}),
        **({} if (v := row.dropout_finetune) is None else {"dropout_finetune": v}),
        **({"augment": row.augment} if row.data == CIFAR10 else {}),
        "batch_size": row.batch_size,
        "phases": {
            name: _phase_settings(getattr(row.phases, name))
            for name in ("plain", "sparse", "finetune")
        },
        "data_digest": digest,
    }


def _phase_settings(phase: Phase) -> list:
    """Epochs, rate and L2 of a phase, and all that is not as by default."""
    others = {
        f.name: value
        for f in dataclasses.fields(phase)
        if f.name not in ("epochs", "rate", "l2") and (value := getattr(phase, f.name)) != f.default
    }
    return [phase.epochs, phase.rate, phase.l2, *([others] if others else [])]


def run_row(row: SslRow, seed: int, data: Dataset, runs: Path) -> dict:
    """Trains what a row needs, or goes on with it, and returns its document.

    Args:
      row: the row.
      seed: int, seed of weights and orders.
      data: data set to train on.
      runs: folder of all runs; rows of one network and seed share the plain phase.
    """
    wanted = settings(row, seed, data.digest())
    job = Job(row, seed, data, runs / f"{row.name}-seed{seed}-{checksum(wanted)[:8]}")
    try:
        return read_json(job.folder / "row.json")
    except (FileNotFoundError, ValueError):
        pass
    logging.info("%s, seed %d", row.name, seed)
    keras.utils.set_random_seed(seed)
    more = {"dropout": row.dropout} if row.dropout else {}
    model = models.build(row.model, data.num_classes, data.input_shape, **more)
    shared = runs / f"plain-{row.model}-shifts{row.shifts}-seed{seed}"
    plain = {"error_plain": job.trained("plain", model, row.phases.plain, shared)}
    if UNSTRUCTURED in row.strengths:
        found = _unstructured(job, model)
    elif row.strengths:
        found = _structured(job, model)
    else:
        error = job.trained("baseline", model, row.phases.baseline, job.folder / "baseline")
        found = {"error": error, **_left(model, model)}
    folders = [shared, *(p for p in job.folder.iterdir() if p.is_dir())]
    minutes = minutes_of(folders, row.batch_size)
    document = {**wanted, "data": data.name, "minutes": minutes, **plain, **found}
    document |= describe_machine()
    write_json(job.folder / "row.json", document)
    return read_json(job.folder / "row.json")


def _structured(job: Job, model: keras.Model) -> dict:
    """Errors and sizes of the network made sparse and shrunk, and of its controls."""
    row, start = job.row, model.get_weights()
    train, valid, test = job.feeds("sparse")
    run = job.folder / "sparse"
    found = sparsify(model, train, valid, row.recipe, test=test, run=run, loop=job.loop)
    zeros = read_selection(model)
    selection = at_most(model, zeros, row.most)
    if row.dropout_finetune is not None:
        for layer in model.layers:
            if isinstance(layer, keras.layers.Dropout):
                layer.rate = row.dropout_finetune
    small = job.shrunk("small", model, row.phases.finetune, selection)
    document = {
        "error": _error(small.result.test_accuracy["finetuned"]),
        "error_sparse": _error(found.result.test_accuracy),
        "error_shrunk": _error(small.result.test_accuracy["shrunk"]),
        "layers_zero": list(zeros.layers),
        "trimmed": selection.method != "zeros",
        **_left(model, small.model),
    }
    if job.seed not in row.control_seeds:
        return document
    if "random" in row.controls and not row.cuts_columns:
        model.set_weights(start)
        if BLOCKS in row.most:
            chosen = random_blocks(model, row.most[BLOCKS], job.seed)
        else:
            chosen = random_like(model, small.selection, job.seed)
        random = job.shrunk("random", model, row.phases.baseline, chosen)
        document["error_random"] = _error(random.result.test_accuracy["finetuned"])
    if "narrow" not in row.controls:
        return document
    # Its weights are new; the columns that its layers gather are those that were learned.
    keras.utils.set_random_seed(job.seed)
    narrow = keras.models.clone_model(small.model)
    narrow_folder = job.folder / "narrow"
    document["error_narrow"] = job.trained("narrow", narrow, row.phases.all, narrow_folder)
    return document


def _unstructured(job: Job, model: keras.Model) -> dict:
    """Error and weights left of the network whose single weights became zero by l1."""
    phases, strength = job.row.phases, job.row.strengths[UNSTRUCTURED]["all"]
    for name, phase, step in (
        ("sparse", phases.sparse, lambda: L1Step(strength)),
        ("finetune", phases.finetune, lambda: keep_zeros(model)),
    ):
        train, valid, test = job.feeds(name)
        how = {"loss": CrossEntropy(), "devices": (), "trunk": "replicate", "settings": {}}
        with run_folder(job.folder / name, settings(job.row, job.seed, "")) as folder:
            train_network(model, train, valid, phase, folder, loop=LOOP, after_step=step(), **how)
    save_model(model, job.folder / "l1.keras")
    kernels = {layer.name: layer.kernel for layer in model.layers if hasattr(layer, "kernel")}
    share = {name: 100 * float(np.mean(np.asarray(k) != 0)) for name, k in kernels.items()}
    return {"error": _error(accuracy_of(model, test).top1), "weights_left": share}


def minutes_of(folders: Iterable[Path], batch_size: int = BATCH) -> float:
    """Minutes that the steps of training took in run folders, as their logs have it."""
    seconds = 0.0
    for folder in folders:
        done = 0
        for _, entry in read_lines((folder / TIMING).read_bytes()):
            seconds += (entry["step"] - done) * batch_size / entry["images_per_second"]
            done = entry["step"]
    return round(seconds / 60, 1)


def _left(whole: keras.Model, small: keras.Model) -> dict:
    """Inputs and outputs of each layer, and multiply-adds left in percent."""
    kernels = {k.layer: k for k in predict_changes(small).kernels}
    before = {k.layer: k.multiply_adds(False) for k in predict_changes(whole).kernels}
    after = {name: k.multiply_adds(False) for name, k in kernels.items()}
    return {
        "units": {n: [int(np.prod(k.before[:-1])), k.before[-1]] for n, k in kernels.items()},
        "layers": {name: 100 * after.get(name, 0) / before[name] for name in before},
        "whole": 100 * sum(after.values()) / sum(before.values()),
    }


def _scaled(split: Split) -> tuple[np.ndarray, np.ndarray]:
    return split.images.astype("float32") / 255, split.labels


def _error(accuracy: float) -> float:
    return 100 * (1 - accuracy)
