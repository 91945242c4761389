"""Training of a plain network or a tree: finetuning after a cut, or a network to compare with."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import keras

from splitnet_tf.analysis import TRUNK_MODES
from splitnet_tf.data.feeds import Feed, feed_of
from splitnet_tf.data.mixing import mixed
from splitnet_tf.errors import ArgumentError
from splitnet_tf.grouping import Grouping
from splitnet_tf.parallel import PlacedTrainStep, place
from splitnet_tf.recipe.optimizers import AfterStep, optimizer_for
from splitnet_tf.recipe.phase import Phase
from splitnet_tf.recipe.preprocessing import Preprocessing
from splitnet_tf.runs import RunDirectory
from splitnet_tf.runs.names import PLAIN, TREE
from splitnet_tf.runs.results import GroupResult
from splitnet_tf.splitting import SplitTree, is_tree
from splitnet_tf.stages.accuracy import at_start, tested
from splitnet_tf.stages.averages import settle_averages
from splitnet_tf.stages.check_data import check_data
from splitnet_tf.stages.loop import (
    Loop,
    check_kind,
    phase_settings,
    run_folder,
    train_phase,
    training_values,
)
from splitnet_tf.stages.preprocessing import notes_of, recorded
from splitnet_tf.stages.run_hook import RunHook
from splitnet_tf.stages.teaching import Teaching, taught, teaching_settings
from splitnet_tf.storage.models import save_model


@dataclasses.dataclass(frozen=True)
class Finetuned:
    """Result of a training. Prints as a line.

    Attributes:
      result: steps and accuracies.
    """

    result: GroupResult

    def __str__(self) -> str:
        found = self.result
        text = f"{found.length()}: validation accuracy "
        text += f"{100 * found.valid_accuracy:.2f}%"
        if found.test_accuracy is not None:
            text += f", test accuracy {100 * found.test_accuracy:.2f}%"
        return f"{text}."


def finetune(
    model: keras.Model | SplitTree,
    train: Any,
    valid: Any,
    phase: Phase = Phase(),  # noqa: B008, as it is frozen
    *,
    run: RunDirectory | str | Path | None = None,
    test: Any = None,
    loop: Loop = Loop(),  # noqa: B008
    loss: keras.losses.Loss | None = None,
    teacher: keras.Model | SplitTree | None = None,
    teaching: Teaching = Teaching(),  # noqa: B008
    grouping: Grouping | None = None,
    class_weight: Mapping[int, float] | None = None,
    batch_size: int = 32,
    seed: int = 1,
    devices: Sequence[str] = (),
    trunk: str = "replicate",
    measure_start: bool = False,
    preprocessing: Preprocessing | str | None = None,
    settings: Mapping[str, Any] | None = None,
    restart: bool = False,
) -> Finetuned:
    """Trains a model in place: a tree after the cut, or any network that returns logits.

    Args:
      model: a tree, its ``model``, or another functional model.
      train, valid: data, see ``learn_groups``.
      phase: how long, and how.
      run: folder for checkpoints, logs, the model and ``result.json``; the same call goes on where
        an earlier one stopped. Defaults to none: nothing is kept.
      test: data on which the result is tested. Defaults to none.
      loop: intervals, precision, patience. With patience the model ends with its best weights, or
        with the averages of its last step where the phase has ``ema``.
      loss: in place of softmax cross entropy, see ``learn_groups``.
      teacher: trained network of the same classes, whose answers the model learns as well:
        functional, sequential or a tree. It takes the same inputs and returns logits. Defaults to
        none.
      teaching: weights of the teacher and of the loss on groups.
      grouping: groups of the classes, for a loss on groups or a teacher in two parts.
      class_weight: weight of each class in the loss, by its number. Defaults to none.
      batch_size: int, examples in a batch of arrays; data in batches keep theirs.
      seed: int, seed of the order of arrays.
      devices: names of devices to train a tree on, each branch on its own. Defaults to none.
      trunk: where the trunk runs with ``devices``, see ``place``.
      measure_start: bool, whether to measure the validation accuracy before the first step.
      preprocessing: see ``learn_groups``.
      settings: what TensorBoard shows as the run's settings. Defaults to the phase.
      restart: bool, whether to remove what an earlier run left in the folder.

    Raises:
      ArgumentError: a phase that gives no step, or XLA across devices.
      RunError, CheckpointError, DataError, TrainingError: see ``Trainer``.
    """
    check_kind("phase", phase, Phase)
    tree = model if isinstance(model, SplitTree) else None
    network = model.model if tree else model
    feed, valid = feed_of(train, batch_size, seed, class_weight), feed_of(valid)
    feed, test = mixed(feed, phase, network, seed), None if test is None else feed_of(test)
    feed, loss = taught(feed, loss, network, phase, teacher, teaching, grouping)
    check_data(network, loss, train=feed, valid=valid, test=test)
    config = phase_settings(
        run,
        phase,
        loop,
        network,
        feed,
        loss,
        seed=seed,
        class_weight=class_weight,
        preprocessing=preprocessing,
        **teaching_settings(teacher, teaching),
    )
    with run_folder(run, config, restart) as folder:
        more = {}
        if measure_start:
            more = at_start(network, valid, loss, preprocessing=preprocessing)
        result = train_network(
            network,
            feed,
            valid,
            phase,
            folder,
            loop=loop,
            loss=loss,
            devices=devices,
            trunk=trunk,
            settings=settings or config,
        )
        file = folder.path / (TREE if is_tree(network) else PLAIN)
        save_model(network, file, notes_of(preprocessing))
        more |= {**tested(network, test, loss), **recorded(preprocessing)}
        result = dataclasses.replace(result, **more)
        result.write(folder.path)
    return Finetuned(result)


def train_network(
    network: keras.Model,
    train: Feed,
    valid: Feed,
    phase: Phase,
    folder: RunDirectory,
    *,
    loop: Loop,
    loss: keras.losses.Loss,
    devices: Sequence[str],
    trunk: str,
    settings: Mapping[str, Any],
    after_step: AfterStep | None = None,
) -> GroupResult:
    """Trains a network in its run folder, writing checkpoints and logs only; see ``finetune``."""
    check_placing(devices, trunk, loop)
    placed, step = None, None
    if devices:
        placed = place(SplitTree(network), devices, trunk)
        step = PlacedTrainStep(
            placed, loss, lambda: optimizer_for(phase), l2=phase.l2, bfloat16=loop.bfloat16
        )
        logging.info("%s", placed.placement)
    found, trainer = train_phase(
        placed or network,
        phase,
        loop,
        train,
        valid,
        folder,
        loss=loss,
        after_step=after_step,
        hooks=[RunHook(network, settings)],
        step=step,
    )
    accuracy = found.valid_accuracy
    # With averages patience only ends the phase: the best step's weights are no averages.
    if loop.patience and not phase.ema and trainer.restore_best():
        accuracy = found.best_accuracy
    if placed is not None:
        placed.gather()
    settled = settle_averages(network, phase, train, valid, loss)
    accuracy = accuracy if settled is None else settled
    return GroupResult(**{**training_values(found, train), "valid_accuracy": accuracy})


def check_placing(devices: Sequence[str], trunk: str, loop: Loop) -> None:
    """Raises ArgumentError for what cannot be done on several devices."""
    if devices and loop.jit_compile:
        raise ArgumentError("`jit_compile` does not work across `devices`; leave one of them out.")
    if devices and loop.distribute:
        raise ArgumentError(
            "`devices` places the nodes of a tree and `distribute` divides its batches; leave one "
            "of them out."
        )
    if trunk not in TRUNK_MODES:
        raise ArgumentError(f"`trunk` must be one of {', '.join(TRUNK_MODES)}; got {trunk!r}.")
